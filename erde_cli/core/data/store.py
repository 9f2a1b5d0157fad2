"""Decoded images of a split, as uint8."""

from __future__ import annotations

from dataclasses import dataclass, replace
from mmap import mmap

import numpy as np
import torch
from torch import Tensor

from erde_cli.core.arrays import IntArray
from erde_cli.core.device import Context
from erde_cli.core.images.decoded import release

_IMAGES_AT_ONCE = 512  # keeps copies small


@dataclass(frozen=True)
class ImageStore:
    """One split of n images: its labels, and its own images or rows of shared ones.

    images: uint8 [m, height, width, 3], m ≥ n. labels: int64 [n].
    numbers: number of each image in its source, int64 [n]. Randomness is drawn by it, so that it
    does not depend on how the split is cut.
    rows: row of each image in `images`, int64 [n]; None: image k of the split is row k.
    mapping: the memory-mapped file that holds `images`, if there is one.
    """

    images: Tensor
    labels: Tensor
    numbers: IntArray
    rows: IntArray | None = None
    mapping: mmap | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def rows_at(self, positions: IntArray) -> IntArray:
        """Rows in `images`, int64 [batch], of the images at these positions of the split."""
        return positions if self.rows is None else self.rows[positions]

    def only(self, positions: IntArray) -> ImageStore:
        """A store of the images at positions int64 [k] of the split; the pixels are not copied."""
        labels = self.labels[torch.from_numpy(positions)]
        rows = self.rows_at(positions)
        return replace(self, labels=labels, numbers=self.numbers[positions], rows=rows)

    def part(self, start: int, count: int) -> Tensor:
        """Up to `count` images of the split in order, uint8 [batch, height, width, 3]."""
        if self.rows is None:
            return self.images[start : start + count]
        return self.take(np.arange(start, min(start + count, len(self))))

    def take(self, positions: IntArray) -> Tensor:
        """Copy of the images at positions int64 [batch], uint8 [batch, height, width, 3]."""
        taken = torch.from_numpy(self.images.numpy()[self.rows_at(positions)])
        self.release()
        return taken

    def release(self) -> None:
        """Release the pages of the mapped file that were read."""
        release(self.mapping)

    def on(self, context: Context) -> ImageStore:
        """The store on a device; only the split's own images are copied to an accelerator."""
        labels = context.to_device(self.labels)
        if self.rows is None or context.device.type == "cpu":
            return replace(self, images=context.to_device(self.images), labels=labels)
        images = torch.empty((len(self), *self.images.shape[1:]), dtype=torch.uint8)
        for start in range(0, len(self), _IMAGES_AT_ONCE):
            images[start : start + _IMAGES_AT_ONCE] = self.part(start, _IMAGES_AT_ONCE)
        return ImageStore(context.to_device(images), labels, self.numbers)
