"""Decoded images, as uint8, and how they become the input of a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from mmap import mmap

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erde_cli.core.device import Context
from erde_cli.core.images.decoded import release

_IMAGES_AT_ONCE = 512  # these two keep copies small, in float64 as well
_PIXELS_AT_ONCE = _IMAGES_AT_ONCE * 32 * 32


@dataclass(frozen=True)
class ImageStore:
    """One split: labels, and images of its own, or rows of what it shares with other splits.

    images: uint8 [m, height, width, 3]. labels: int64 [n]. numbers: int64 [n], each image's number
    in its source; randomness is drawn by it, so it stays the same however the split is cut.
    rows: int64 [n], places of the split's images in `images`; None: they are all its own, in order.
    mapping: the file that is mapped into memory for `images`, if there is one.
    """

    images: Tensor
    labels: Tensor
    numbers: NDArray[np.int64]
    rows: NDArray[np.int64] | None = None
    mapping: mmap | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def places(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of `images` at some places of the split."""
        return places if self.rows is None else self.rows[places]

    def only(self, places: NDArray[np.int64]) -> ImageStore:
        """Some images of the split, by their places in it; the pixels are not copied."""
        labels = self.labels[torch.from_numpy(places)]
        return replace(self, labels=labels, numbers=self.numbers[places], rows=self.places(places))

    def part(self, start: int, count: int) -> Tensor:
        """Images of the split in order, uint8 [batch, height, width, 3]."""
        if self.rows is None:
            return self.images[start : start + count]
        return self.take(self.rows[start : start + count])

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """Copy rows of `images`."""
        taken = torch.from_numpy(self.images.numpy()[rows])
        self.release()
        return taken

    def release(self) -> None:
        """Give back what was looked at of a mapped file: it need not stay in this process."""
        release(self.mapping)

    def on(self, context: Context) -> ImageStore:
        """The split for training on a device; an accelerator gets no other split's images."""
        labels = context.to_device(self.labels)
        if self.rows is None or context.device.type == "cpu":
            return replace(self, images=context.to_device(self.images), labels=labels)
        images = torch.empty((len(self), *self.images.shape[1:]), dtype=torch.uint8)
        for start in range(0, len(self), _IMAGES_AT_ONCE):
            images[start : start + _IMAGES_AT_ONCE] = self.part(start, _IMAGES_AT_ONCE)
        return ImageStore(context.to_device(images), labels, self.numbers)
