"""Decoded images of a source, each compared with its checksum before it is used."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from mmap import MADV_DONTNEED, mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.arrays import ImageArray, IntArray
from erde_cli.core.errors import DataError
from erde_cli.core.images.pixels import Traits
from erde_cli.core.storage.short_digests import ShortDigests

IMAGES, INDEX = "images.npy", "index.json"
_BYTES_AT_ONCE = 16_000_000


@dataclass(frozen=True)
class DecodedImages:
    """All images of a source at one size, uint8 [files, size, size, 3], and what they came from.

    digest: of the source. files: short digests of the files, uint64 [files]. unreadable: number and
    reason of files that are no image; their pixels are 0. traits: of all files together. kept: the
    file that the images lie in, or None where they are held in memory.
    """

    images: ImageArray
    digest: str
    files: ShortDigests
    unreadable: dict[int, str]
    traits: Traits
    kept: Kept | None = None

    @property
    def mapping(self) -> mmap | None:
        """The mapped file, if there is one."""
        return None if self.kept is None else self.kept.mapping

    def take(self, numbers: IntArray) -> ImageArray:
        """Copy some images into memory; nothing else of the file stays there.

        Raises:
            DataError: the file is damaged.
        """
        taken = np.empty((len(numbers), *self.images.shape[1:]), np.uint8)
        for part in self._parts(numbers):
            taken[part] = self.images[numbers[part]]
            if self.kept is not None:
                self.kept.check(taken[part], numbers[part])
        return taken

    def check(self, numbers: IntArray) -> None:
        """Check that some images are still what was decoded, before they are used where they lie.

        Raises:
            DataError: the file is damaged.
        """
        for part in self._parts(numbers) if self.kept else ():
            assert self.kept is not None  # noqa: S101
            self.kept.check(self.images[numbers[part]], numbers[part])

    def _parts(self, numbers: IntArray) -> Iterator[slice]:
        step = max(1, _BYTES_AT_ONCE // self.images[0].size)
        for start in range(0, len(numbers), step):
            yield slice(start, start + step)
            release(self.mapping)


@dataclass(frozen=True)
class Kept:
    """A file of decoded images, mapped, and the CRC-32 of each of them, uint32 [files]."""

    folder: Path
    mapping: mmap
    checksums: NDArray[np.uint32]

    def check(self, images: ImageArray, numbers: IntArray) -> None:
        """Compare images with their checksums; a damaged file is not read again.

        Raises:
            DataError: one differs.
        """
        for image, number in zip(images, numbers, strict=True):
            if zlib.crc32(image) != self.checksums[number]:
                with suppress(OSError):
                    (self.folder / INDEX).unlink()
                raise DataError(
                    f"{self.folder / IMAGES} is damaged, at image {number}.",
                    expected="what was decoded once",
                    hint="type the same command again: the images are decoded anew",
                )


def release(mapping: mmap | None) -> None:
    """Give the pages of a mapped file back; they stay in the system's cache while there is room."""
    if mapping is not None:
        mapping.madvise(MADV_DONTNEED)
