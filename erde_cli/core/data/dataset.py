"""A source of images with its three splits: train, calibration and test, provably disjoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from erde_cli.core.data.digits import DigitsSource
from erde_cli.core.data.download import fetch
from erde_cli.core.data.folders import FolderSource, folder_source
from erde_cli.core.data.listing import list_classes, list_images
from erde_cli.core.data.published import PublishedSource
from erde_cli.core.data.published_files import data_root
from erde_cli.core.data.sources import ImageSource, Progress
from erde_cli.core.data.store import ImageStore
from erde_cli.core.errors import DataError
from erde_cli.core.files import digest_of
from erde_cli.core.observer import Observer
from erde_cli.core.randomness import permutation
from erde_cli.core.recipe import Data

IntArray = NDArray[np.int64]
Split = Literal["train", "calibration", "test"]
SPLITS: tuple[Split, ...] = ("train", "calibration", "test")

_CHECKED_AT_ONCE = 1024  # images
_HELD = 2000  # MB of decoded images held in memory where nothing else is said
_LARGE_TRAIN = 10_000  # images in train from which calibration has at least ...
_LEAST_CALIBRATION = 1_000  # ... this many


@dataclass(frozen=True)
class Dataset:
    """A source, and which of its images belong to which split; decodes what it is asked for."""

    source: ImageSource
    splits: dict[Split, IntArray]
    image_size: int
    fingerprint: str
    memory_limit: int = _HELD  # MB; more stay in the mapped file of the cache
    _decoded: dict[Split, ImageStore] = field(default_factory=dict, repr=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label."""
        return self.source.class_names

    @property
    def skipped(self) -> list[Path]:
        """Files that could not be read so far, where the recipe says to skip them."""
        return self.source.skipped if isinstance(self.source, FolderSource) else []

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
        """See that one split can be decoded, and keep nothing of it.

        Raises:
            DataError: files cannot be read, and they are not to be skipped.
        """
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


def open_dataset(settings: Data, observer: Observer | None = None) -> Dataset:
    """List a recipe's images and carve their splits.

    A published data set is downloaded where it is missing, if the recipe says so. A folder's images
    are decoded, all at once, unless the cache has them. The observer is told of either.

    The splits depend on the images, the fractions and `split_seed`, not on the run's seed: runs
    with other seeds share them, so one teacher can serve them all.

    Raises:
        DataError: images are missing, or a class has too few to be split.
        DownloadError: they cannot be downloaded.
    """
    source = _open_source(settings, observer or Observer())
    splits = _carve(source, settings)
    described = {
        "images": source.digest(),
        "splits": {name: numbers.tolist() for name, numbers in splits.items()},
    }
    fingerprint = digest_of(described)
    return Dataset(source, splits, settings.image_size, fingerprint, settings.memory_limit)


def _open_source(settings: Data, observer: Observer) -> ImageSource:
    if settings.dataset == "digits":
        return DigitsSource()
    if settings.dataset == "imagefolder":
        skip = settings.unreadable == "skip"
        source = folder_source(Path(settings.root or "."), skip_unreadable=skip)
        source.decode(settings.image_size, observer)
        return source
    root = data_root(settings.root)
    if settings.download:
        fetch(settings.dataset, root, observer, extra=settings.extra)
    return PublishedSource(settings.dataset, root, extra=settings.extra)


def open_labelled_folder(
    root: Path,
    class_names: tuple[str, ...],
    image_size: int,
    *,
    split: Split = "test",
    skip_unreadable: bool = False,
    memory_limit: int = _HELD,
    observer: Observer | None = None,
) -> Dataset:
    """Open a user's own images for one split: `root/<split>/<class>/*`, or `root/<class>/*`.

    Raises:
        DataError: the folder has no images, or classes that the model does not know.
    """
    inside = split not in class_names and (root / split).is_dir()
    folder = root / split if inside else root
    if not folder.is_dir():
        raise DataError(
            f"There is no folder {root}.",
            hint="give an existing one with --data",
            expected="a folder of images, one subfolder per class",
        )
    there = {path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."}
    unknown = sorted(there - set(class_names))
    if unknown or not there:
        raise DataError(
            f"The folders in {folder} are not the model's classes.",
            got=", ".join(unknown[:10]) or "no folders",
            expected=f"one folder per class: {', '.join(class_names[:10])}",
            hint="rename the folders, or give other images with --data",
        )
    files, labels = list_classes(folder, class_names, may_lack=True)
    source = FolderSource(folder, class_names, files, labels, None, skip_unreadable)
    return _as_one_split(source, split, image_size, memory_limit, observer)


def open_unlabelled_folder(
    root: Path,
    image_size: int,
    *,
    split: Split,
    skip_unreadable: bool = False,
    memory_limit: int = _HELD,
    observer: Observer | None = None,
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
    files = list_images(root)
    labels = np.zeros(len(files), dtype=np.int64)
    source = FolderSource(root, ("",), files, labels, None, skip_unreadable)
    return _as_one_split(source, split, image_size, memory_limit, observer)


def _as_one_split(
    source: FolderSource,
    split: Split,
    image_size: int,
    memory_limit: int,
    observer: Observer | None,
) -> Dataset:
    source.decode(image_size, observer or Observer())
    numbers = np.arange(len(source.paths), dtype=np.int64)
    fingerprint = digest_of({"images": source.digest()})
    splits: dict[Split, IntArray] = dict.fromkeys(SPLITS, numbers[:0])
    splits[split] = numbers
    return Dataset(source, splits, image_size, fingerprint, memory_limit)


def _carve(source: ImageSource, settings: Data) -> dict[Split, IntArray]:
    everything = np.arange(len(source.labels), dtype=np.int64)
    if source.is_test is not None:
        rest, test = everything[~source.is_test], everything[source.is_test]
    else:
        count = round(settings.test_fraction * len(everything))
        rest, test = _stratified(everything, source, count, settings.split_seed, "test")
    count = round(settings.calibration_fraction * len(rest))
    if len(rest) >= _LARGE_TRAIN:
        count = max(count, _LEAST_CALIBRATION)
    train, calibration = _stratified(rest, source, count, settings.split_seed, "calibration")
    return {"train": train, "calibration": calibration, "test": test}


def _stratified(
    numbers: IntArray, source: ImageSource, count: int, seed: int, purpose: str
) -> tuple[IntArray, IntArray]:
    """Split off `count` images, each class by its share: (what stays, what is split off).

    Largest remainders fill up to `count`; every class gives at least one image and keeps one.
    """
    labels = source.labels[numbers]
    sizes = np.bincount(labels, minlength=len(source.class_names))
    poor = [source.class_names[label] for label in np.flatnonzero(sizes < 2)]
    if poor:
        raise DataError(
            f"Too few images to split off a {purpose} split.",
            got=f"one image or none in {', '.join(map(repr, poor[:10]))}",
            expected="two images or more of every class beside each split; ten to be of use",
            hint="add images, or remove the folders of those classes",
        )
    exact = sizes * (count / len(numbers))
    shares = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(shares - exact, kind="stable")
    shares[by_remainder[: count - int(shares.sum())]] += 1
    shares = np.clip(shares, 1, sizes - 1)
    order = permutation(len(numbers), seed, f"split/{purpose}")
    chosen = np.zeros(len(numbers), dtype=bool)
    for label, share in enumerate(shares):
        chosen[order[labels[order] == label][:share]] = True
    return numbers[~chosen], numbers[chosen]
