"""A source of images and its three disjoint splits: train, calibration and test."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from erde_cli.core.arrays import IntArray
from erde_cli.core.data.folders import FolderSource
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.photo_views import Photos
from erde_cli.core.data.sources import ImageSource, Progress
from erde_cli.core.data.splits import Split
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.streamed_views import PhotoFiles, decoding_processes
from erde_cli.core.errors import DataError
from erde_cli.core.events import Observer
from erde_cli.core.figures import byte_size
from erde_cli.core.images.pixels import DEFAULT_RULES, PixelRules
from erde_cli.core.storage.short_digests import ShortDigests

MEMORY_LIMIT = 2000  # MB of decoded images held in memory by default
MEGABYTE = 1_000_000
_SAMPLE = 5_000  # photos that the normalisation is computed from, at most


@dataclass(frozen=True)
class Dataset:
    """A source of images, and which of them are in each split. `load` reads their pixels.

    splits: numbers of the images of each split in the source, int64 [images of the split].
    image_size: side in pixels. fingerprint: SHA-256 of images and splits. memory_limit: MB; a
    larger data set is not read into memory, but memory-mapped from the cache. photo_side: side of
    the train photos that random crops are cut from, in pixels; None: no such crops. streamed_bytes:
    size of these photos if they are not kept, but decoded in every epoch; 0: they are kept.
    """

    source: ImageSource
    splits: dict[Split, IntArray]
    image_size: int
    fingerprint: str
    memory_limit: int = MEMORY_LIMIT
    photo_side: int | None = None
    streamed_bytes: int = 0
    _loaded: dict[Split, ImageStore] = field(default_factory=dict, repr=False)
    _photos: list[Photos] = field(default_factory=list, repr=False)
    _sizes: dict[int, Dataset] = field(default_factory=dict, repr=False, compare=False)

    def at(self, size: int) -> Dataset:
        """The same images and splits with another side; later calls return the same data set.

        Its splits are decoded when they are loaded, each without the others, or taken from the
        cache. A file that cannot be read at either size is left out.

        Args:
            size: side in pixels.
        """
        self._sizes[self.image_size] = self
        if size not in self._sizes:
            self._sizes[size] = replace(self, image_size=size, _loaded={})
        return self._sizes[size]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label."""
        return self.source.class_names

    @property
    def skipped(self) -> list[Path]:
        """Unreadable files skipped so far."""
        return self.source.skipped if isinstance(self.source, FolderSource) else []

    @cached_property
    def normalisation(self) -> Normalisation:
        """Mean and standard deviation of the train split; with random crops, of a sample of it.

        Raises:
            DataError: as `load`.
        """
        if self.photo_side is None:
            return Normalisation.of(self.load("train"))
        count = len(self.readable("train"))
        places = np.arange(0, count, -(-count // _SAMPLE))
        if not self.streamed_bytes:
            return Normalisation.of(self.load("train").only(places))
        return Normalisation.of(self._part(self.readable("train")[places]))

    @property
    def rules(self) -> PixelRules:
        """How the files become pixels."""
        return self.source.rules if isinstance(self.source, FolderSource) else DEFAULT_RULES

    @property
    def _photo_rules(self) -> PixelRules:
        """How train files become photos: random crops are cut from the whole photo."""
        return self.rules._replace(crop_share=None)

    def short_digests(self, numbers: IntArray) -> ShortDigests | None:
        """Digest of each image's file, uint64 [images]; None if the images are not files."""
        source = self.source
        return source.short_digests[numbers] if isinstance(source, FolderSource) else None

    def readable(self, split: Split) -> IntArray:
        """Numbers of the images of a split that can be read, int64 [images]; reads no pixels.

        Raises:
            DataError: files cannot be read, or the split or a train class has no readable image.
        """
        source, numbers = self.source, self.splits[split]
        if isinstance(source, FolderSource):
            numbers = source.readable(numbers)
        self._require_images(split, numbers)
        return numbers

    def load(self, split: Split, progress: Progress | None = None) -> ImageStore:
        """Images and labels of one split; later calls return the same store.

        Raises:
            DataError: files cannot be read or have changed since the data set was opened, or the
                split or a train class has no readable image.
        """
        if split not in self._loaded:
            source = self.source
            if isinstance(source, FolderSource) and source.size != self.image_size:
                self._loaded[split] = self._part(self.readable(split))
                self._require_images(split, self._loaded[split].numbers)
            else:
                self._loaded[split] = self._load(split, progress)
        return self._loaded[split]

    def _load(self, split: Split, progress: Progress | None) -> ImageStore:
        source, numbers = self.source, self.splits[split]
        # Splits can share one array of decoded images; `rows` are this split's rows in it.
        rows, mapping = None, None
        if isinstance(source, FolderSource) and source.is_shared(self.memory_limit):
            rows = numbers = source.readable(numbers)
            source.decoded.check(numbers)
            images, mapping = source.decoded.images, source.decoded.mapping
        else:
            images, numbers = source.read(numbers, self.image_size, progress)
        self._require_images(split, numbers)
        labels = torch.from_numpy(source.labels[numbers])
        pixels = torch.from_numpy(np.ascontiguousarray(images))
        return ImageStore(pixels, labels, numbers, rows, mapping)

    def _part(self, numbers: IntArray) -> ImageStore:
        """Readable images, decoded without the others."""
        source = self.source
        assert isinstance(source, FolderSource)  # noqa: S101
        part = source.decode_part(
            numbers,
            (self.image_size, self.rules),
            source.observer,
            skip_unreadable=source.skip_unreadable,
        )
        rows = None
        if part.unreadable:  # at this size alone
            rows = np.flatnonzero(np.isin(numbers, source.readable(numbers)))
            numbers = numbers[rows]
        labels, pixels = torch.from_numpy(source.labels[numbers]), torch.from_numpy(part.images)
        return ImageStore(pixels, labels, numbers, rows, part.mapping)

    def _require_images(self, split: Split, numbers: IntArray) -> None:
        """Check that a split has readable images, and train some of each class.

        Raises:
            DataError: there are none.
        """
        if len(numbers) == 0:
            raise DataError(
                f"The {split} split has no readable image.",
                expected="at least one image that can be decoded",
                hint="repair the files, or use other images",
            )
        labels = self.source.labels
        unreadable_classes = set(labels[self.splits[split]]) - set(labels[numbers].tolist())
        if split == "train" and unreadable_classes:
            names = [self.class_names[label] for label in sorted(unreadable_classes)][:10]
            raise DataError(
                "A class has no readable training image.",
                got=", ".join(map(repr, names)),
                expected="at least one image of each class that can be decoded",
                hint="repair the files, or remove the folders of those classes",
            )

    def photos(self, observer: Observer | None = None) -> Photos | None:
        """Train photos for random crops; later calls return the same ones. None: none are kept.

        They are squashed to `photo_side` x `photo_side` pixels and lie in a mapped cache file.

        Args:
            observer: receives the size on disk, and the progress of decoding.

        Raises:
            DataError: files cannot be read, or have changed since the data set was opened.
        """
        side, source = self.photo_side, self.source
        if side is None or self.streamed_bytes or not isinstance(source, FolderSource):
            return None
        if not self._photos:
            observer = observer or Observer()
            numbers = source.readable(self.splits["train"])
            size = byte_size(len(numbers) * 3 * side**2)
            observer.note(f"Train photos for random crops, at {side} x {side} pixels: {size}")
            decoded = source.decode_part(numbers, (side, self._photo_rules), observer)
            pixels, labels = torch.from_numpy(decoded.images), source.labels[numbers]
            store = ImageStore(pixels, torch.from_numpy(labels), numbers, mapping=decoded.mapping)
            self._photos.append(Photos(store, decoded.ratios))
        return self._photos[0]

    def photo_files(self, observer: Observer | None = None) -> PhotoFiles | None:
        """Train files that are decoded in every epoch; None: photos are kept, or there are none.

        Args:
            observer: receives the reason.

        Raises:
            DataError: files cannot be read.
        """
        side, source = self.photo_side, self.source
        if side is None or not self.streamed_bytes or not isinstance(source, FolderSource):
            return None
        if observer is not None:
            count = decoding_processes()
            where = f"by {count} processes" if count > 1 else "in this process"
            observer.note(
                f"Train photos for random crops, at {side} x {side} pixels, would take "
                f"{byte_size(self.streamed_bytes)} of disk, more than data.disk_limit. Their files "
                f"are decoded in every epoch, {where}. To keep the photos instead, type "
                f"--set data.disk_limit={-(-self.streamed_bytes // MEGABYTE)}"
            )
        numbers = self.readable("train")
        paths = [source.paths[number] for number in numbers]
        labels = torch.from_numpy(source.labels[numbers])
        digests = source.short_digests[numbers]
        return PhotoFiles(source.root, paths, labels, numbers, digests, (side, self._photo_rules))

    def check(self, split: Split) -> None:
        """Check that all files of one split can be decoded.

        Raises:
            DataError: a file cannot be decoded, and unreadable files are not skipped.
        """
        if isinstance(self.source, FolderSource):
            self.source.readable(self.splits[split])
