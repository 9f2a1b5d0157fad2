"""A source of images with its three splits: train, calibration and test, provably disjoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from erde_cli.core.arrays import IntArray
from erde_cli.core.data.digits import DigitsSource
from erde_cli.core.data.download import fetch
from erde_cli.core.data.folder_layout import CALIBRATION_FOLDERS, folder_source, some_names
from erde_cli.core.data.folders import FolderSource
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.published import PublishedSource
from erde_cli.core.data.published_files import data_root
from erde_cli.core.data.sources import ImageSource, Progress
from erde_cli.core.data.splits import SPLITS, Split, carve
from erde_cli.core.data.store import ImageStore
from erde_cli.core.errors import DataError
from erde_cli.core.events import Observer
from erde_cli.core.images.class_names import one_form
from erde_cli.core.images.listing import class_names_in, list_classes, list_images
from erde_cli.core.images.passed_over import PassedOver
from erde_cli.core.images.pixels import DEFAULT_RULES, PixelRules, doubts
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.storage.json_files import digest_of
from erde_cli.core.storage.short_digests import ShortDigests

_CHECKED_AT_ONCE = 1024  # images
_HELD = 2000  # MB of decoded images held in memory where nothing else is said


class Reading(NamedTuple):
    """How files of one's own become images: their side in pixels, rules, and what may be left out.

    memory_limit: MB; more stay in the mapped file of the cache.
    """

    image_size: int
    rules: PixelRules
    skip_unreadable: bool = False
    memory_limit: int = _HELD


@dataclass(frozen=True)
class Dataset:
    """A source, and which of its images belong to which split; decodes what it is asked for."""

    source: ImageSource
    splits: dict[Split, IntArray]
    image_size: int
    fingerprint: str
    memory_limit: int = _HELD  # MB; more stay in the mapped file of the cache
    _decoded: dict[Split, ImageStore] = field(default_factory=dict, repr=False)
    _checked: set[Split] = field(default_factory=set, repr=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label."""
        return self.source.class_names

    @property
    def skipped(self) -> list[Path]:
        """Files that could not be read so far, where the recipe says to skip them."""
        return self.source.skipped if isinstance(self.source, FolderSource) else []

    @cached_property
    def normalisation(self) -> Normalisation:
        """Mean and standard deviation of the train split."""
        return Normalisation.of_split(self.load("train"))

    @property
    def rules(self) -> PixelRules:
        """How its files become pixels."""
        return self.source.rules if isinstance(self.source, FolderSource) else DEFAULT_RULES

    def short_digests(self, store: ImageStore) -> ShortDigests | None:
        """Of the files of some images, uint64 [images]; None where they are no files."""
        source = self.source
        return source.short_digests[store.numbers] if isinstance(source, FolderSource) else None

    def load(self, split: Split, progress: Progress | None = None) -> ImageStore:
        """Decode one split into memory, once, or find it in the cache.

        Raises:
            DataError: files cannot be read, or nothing is left.
        """
        if split in self._decoded:
            return self._decoded[split]
        source, numbers = self.source, self.splits[split]
        shared = source.shared(self.memory_limit) if isinstance(source, FolderSource) else None
        if shared is not None and isinstance(source, FolderSource):
            images, numbers = shared.images, source.readable(numbers)
            shared.check(numbers)
        else:
            images, numbers = source.read(numbers, self.image_size, progress)
        if len(numbers) == 0:
            raise DataError(
                f"The {split} split has no readable image.",
                expected="one image that can be decoded, or more",
                hint="mend the files, or give other images",
            )
        labels = torch.from_numpy(self.source.labels[numbers])
        lost = set(self.source.labels[self.splits[split]]) - set(labels.tolist())
        if split == "train" and lost:
            names = [self.class_names[label] for label in sorted(lost)][:10]
            raise DataError(
                "A class has no readable training image.",
                got=", ".join(map(repr, names)),
                expected="one that can be decoded, or more, in each class",
                hint="mend the files, or remove the folders of those classes",
            )
        pixels = torch.from_numpy(np.ascontiguousarray(images))
        rows, mapping = (None, None) if shared is None else (numbers, shared.mapping)
        self._decoded[split] = ImageStore(pixels, labels, numbers, rows, mapping)
        return self._decoded[split]

    def check(self, split: Split, progress: Progress | None = None) -> None:
        """Check that one split can be decoded, once, and keep nothing of it.

        Raises:
            DataError: files cannot be read, and they are not to be skipped.
        """
        if split in self._checked:
            return
        numbers = self.splits[split]
        if isinstance(self.source, FolderSource) and self.source.decoded is not None:
            self.source.readable(numbers)
            if progress is not None:
                progress(len(numbers), len(numbers))
            return
        for start in range(0, len(numbers), _CHECKED_AT_ONCE):
            self.source.read(numbers[start : start + _CHECKED_AT_ONCE], self.image_size)
            if progress is not None:
                progress(min(start + _CHECKED_AT_ONCE, len(numbers)), len(numbers))
        self._checked.add(split)


def rules_of(settings: Data) -> PixelRules:
    """How a recipe's files become pixels."""
    return PixelRules(settings.transparent, settings.bit_depth, settings.frames)


def open_dataset(
    settings: Data, observer: Observer | None = None, rules: PixelRules | None = None
) -> Dataset:
    """List a recipe's images and carve their splits.

    A published data set is downloaded where it is missing, if the recipe says so. A folder's images
    are decoded, all at once, unless the cache has them. The observer receives the progress.

    The splits depend on the images, the fractions and `split_seed`, not on the run's seed: runs
    with other seeds share them, so one teacher can serve them all.

    Args:
        settings: the section of the recipe.
        observer: of downloads and decoding.
        rules: how files become pixels, where a bundle says it.

    Raises:
        DataError: images are missing, or a class has too few to be split.
        DownloadError: they cannot be downloaded.
    """
    source = _open_source(settings, observer or Observer(), rules or rules_of(settings))
    splits = carve(source, settings)
    described = {
        "images": source.digest(),
        "splits": {name: numbers.tolist() for name, numbers in splits.items()},
    }
    fingerprint = digest_of(described)
    return Dataset(source, splits, settings.image_size, fingerprint, settings.memory_limit)


def _open_source(settings: Data, observer: Observer, rules: PixelRules) -> ImageSource:
    if settings.dataset == "digits":
        return DigitsSource()
    if settings.dataset == "imagefolder":
        skip = settings.unreadable == "skip"
        source = folder_source(Path(settings.root or "."), skip_unreadable=skip, rules=rules)
        source.decode(settings.image_size, observer)
        return source
    root = data_root(settings.root)
    if settings.download:
        fetch(settings.dataset, root, observer, extra=settings.extra)
    return PublishedSource(settings.dataset, root, extra=settings.extra)


def open_labelled_folder(
    root: Path,
    class_names: tuple[str, ...],
    reading: Reading,
    *,
    split: Split = "test",
    observer: Observer | None = None,
) -> Dataset:
    """Open a user's own images for one split: `root/<split>/<class>/*`, or `root/<class>/*`.

    Raises:
        DataError: the folder has no images, or classes that the model does not know.
    """
    named = CALIBRATION_FOLDERS if split == "calibration" else (split,)
    inside = [name for name in named if name not in class_names and (root / name).is_dir()]
    folder = root / inside[0] if inside else root
    if not folder.is_dir():
        raise DataError(
            f"There is no folder {root}.",
            hint="give an existing one with --data",
            expected="a folder of images, one subfolder per class",
        )
    there = class_names_in(folder)
    unknown = sorted(set(there) - {one_form(name) for name in class_names})
    if unknown or not there:
        raise DataError(
            f"The folders in {folder} are not the model's classes.",
            got=some_names(unknown) or "no folders",
            expected=f"one folder per class: {', '.join(class_names[:10])}",
            hint="rename the folders, or give other images with --data; for images without labels: "
            "erde predict BUNDLE FOLDER",
        )
    passed = PassedOver()
    listed = list_classes(folder, class_names, passed, may_lack=True)
    skip, rules = reading.skip_unreadable, reading.rules
    source = FolderSource(folder, class_names, *listed, None, skip, rules, passed_over=passed)
    return _as_one_split(source, split, reading, observer)


def open_unlabelled_folder(
    root: Path, reading: Reading, *, split: Split, observer: Observer | None = None
) -> Dataset:
    """Open every image below a folder for one split; all labels are 0 and mean nothing.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    if not root.is_dir():
        raise DataError(
            f"There is no folder {root}.",
            hint="give an existing one with --images",
            expected="a folder of images",
        )
    passed = PassedOver()
    files = list_images(root, passed)
    labels = np.zeros(len(files), dtype=np.int64)
    skip, rules = reading.skip_unreadable, reading.rules
    source = FolderSource(root, ("",), files, labels, None, skip, rules, passed_over=passed)
    return _as_one_split(source, split, reading, observer)


def _as_one_split(
    source: FolderSource, split: Split, reading: Reading, observer: Observer | None
) -> Dataset:
    observer = observer or Observer()
    source.passed_over.show(observer)
    source.decode(reading.image_size, observer)
    assert source.decoded is not None  # noqa: S101
    for doubt in doubts(source.decoded.traits, source.rules):
        observer.warning(doubt)
    numbers = np.arange(len(source.paths), dtype=np.int64)
    fingerprint = digest_of({"images": source.digest()})
    splits: dict[Split, IntArray] = dict.fromkeys(SPLITS, numbers[:0])
    splits[split] = numbers
    return Dataset(source, splits, reading.image_size, fingerprint, reading.memory_limit)
