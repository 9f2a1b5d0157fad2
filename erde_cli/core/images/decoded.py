"""Decoded images of a source. Cached images are verified before they are used."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from mmap import MADV_DONTNEED, mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.arrays import Float32Array, ImageArray, IntArray
from erde_cli.core.errors import DataError
from erde_cli.core.images.pixels import Traits
from erde_cli.core.storage.short_digests import ShortDigests

IMAGES, INDEX = "images.npy", "index.json"
_BYTES_AT_ONCE = 16_000_000


@dataclass(frozen=True)
class DecodedImages:
    """All images of a source at one size, uint8 [files, size, size, 3].

    digest: of the source. files: short digests of the files, uint64 [files]. unreadable: number and
    reason of unreadable files; their pixels are 0. traits: of all files together. ratios: width /
    height of each image before it was resized, float32 [files]. cached: the cache file that holds
    the images; None if they are in memory.
    """

    images: ImageArray
    digest: str
    files: ShortDigests
    unreadable: dict[int, str]
    traits: Traits
    ratios: Float32Array
    cached: CachedImages | None = None

    @property
    def mapping(self) -> mmap | None:
        """The memory-mapped cache file, if there is one."""
        return None if self.cached is None else self.cached.mapping

    def take(self, numbers: IntArray) -> ImageArray:
        """Copy some images into memory, uint8 [images, size, size, 3].

        Raises:
            DataError: the cache is damaged.
        """
        taken = np.empty((len(numbers), *self.images.shape[1:]), np.uint8)
        for part in self._parts(numbers):
            taken[part] = self.images[numbers[part]]
            if self.cached is not None:
                self.cached.check(taken[part], numbers[part])
        return taken

    def check(self, numbers: IntArray) -> None:
        """Verify some images before they are used without a copy.

        Raises:
            DataError: the cache is damaged.
        """
        if self.cached is not None:
            for part in self._parts(numbers):
                self.cached.check(self.images[numbers[part]], numbers[part])

    def _parts(self, numbers: IntArray) -> Iterator[slice]:
        step = max(1, _BYTES_AT_ONCE // self.images[0].size)
        for start in range(0, len(numbers), step):
            yield slice(start, start + step)
            release(self.mapping)


@dataclass(frozen=True)
class CachedImages:
    """A memory-mapped cache file, and the CRC-32 of each of its images, uint32 [files]."""

    folder: Path
    mapping: mmap
    checksums: NDArray[np.uint32]

    def check(self, images: ImageArray, numbers: IntArray) -> None:
        """Compare images with their checksums. A damaged cache is invalidated.

        Raises:
            DataError: an image differs.
        """
        for image, number in zip(images, numbers, strict=True):
            if zlib.crc32(image) != self.checksums[number]:
                with suppress(OSError):
                    (self.folder / INDEX).unlink()
                raise DataError(
                    f"{self.folder / IMAGES} is damaged, at image {number}.",
                    expected="the decoded image",
                    hint="run the same command again; it decodes the images again",
                )


def release(mapping: mmap | None) -> None:
    """Release the memory of a mapped file; the system can keep its pages cached."""
    if mapping is not None:
        mapping.madvise(MADV_DONTNEED)
