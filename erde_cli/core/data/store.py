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


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, of pixel values from 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def of(cls, images: Tensor) -> Normalisation:
        """Measure it on images, uint8 [n, height, width, 3]."""
        return cls.of_split(ImageStore(images, torch.empty(len(images)), np.arange(len(images))))

    @classmethod
    def of_split(cls, store: ImageStore) -> Normalisation:
        """Measure it on the images of a split."""
        height, width = store.images.shape[1:3]
        count = len(store) * height * width
        at_once = max(1, min(_IMAGES_AT_ONCE, _PIXELS_AT_ONCE // (height * width)))
        total, squares = torch.zeros(2, 3, dtype=torch.float64)
        for start in range(0, len(store), at_once):
            pixels = store.part(start, at_once).reshape(-1, 3).double() / 255
            total += pixels.sum(dim=0)
            squares += pixels.square().sum(dim=0)
        mean = total / count
        # A channel that never changes would be divided by 0; 1/255 is one grey level.
        std = (squares / count - mean.square()).clamp_min(0).sqrt().clamp_min(1 / 255)
        rounded = [tuple(round(float(value), 6) for value in values) for values in (mean, std)]
        return cls(*rounded)  # type: ignore[arg-type]

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """A level from 0 to 255 becomes level * scale - shift; float32 [3] each."""
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return 1 / (255 * std), mean / std

    def to_json(self) -> dict[str, list[float]]:
        """Form in `bundle.json`."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, document: dict[str, list[float]]) -> Normalisation:
        """Read the form in `bundle.json`."""
        return cls(tuple(document["mean"]), tuple(document["std"]))  # type: ignore[arg-type]


class Normaliser:
    """Turns uint8 images into a network's input, in its number format and memory layout."""

    def __init__(self, normalisation: Normalisation, width: int, context: Context) -> None:
        scale, shift = normalisation.scale_and_shift()
        # One scale and shift for each value of a row: 7 times as fast as broadcasting 3 channels.
        self._scale = context.to_device(scale.repeat(width))
        self._shift = context.to_device(shift.repeat(width))
        self._context = context

    def __call__(self, images: Tensor) -> Tensor:
        """Map uint8 [batch, height, width, 3] to normalised [batch, 3, height, width]."""
        rows = images.flatten(2).float().mul_(self._scale).sub_(self._shift)
        planes = rows.to(self._context.dtype).view(images.shape).permute(0, 3, 1, 2)
        return planes.contiguous(memory_format=self._context.memory_format)
