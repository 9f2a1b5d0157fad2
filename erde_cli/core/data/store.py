"""Decoded images in memory, as uint8, and how they become the input of a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erde_cli.core.context import Context

_IMAGES_AT_ONCE = 4096  # keeps the float64 copy small


@dataclass(frozen=True)
class ImageStore:
    """One split in memory.

    images: uint8 [n, height, width, 3]. labels: int64 [n]. numbers: int64 [n], each image's number
    in its source; randomness is drawn by it, so it stays the same however the split is cut.
    """

    images: Tensor
    labels: Tensor
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, of pixel values from 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def of(cls, images: Tensor) -> Normalisation:
        """Measure it on images, uint8 [n, height, width, 3]."""
        count = images[..., 0].numel()
        total, squares = torch.zeros(2, 3, dtype=torch.float64)
        for part in torch.split(images, _IMAGES_AT_ONCE):
            pixels = part.reshape(-1, 3).double() / 255
            total += pixels.sum(dim=0)
            squares += pixels.square().sum(dim=0)
        mean = total / count
        # A channel that never changes would be divided by 0; 1/255 is one grey level.
        std = (squares / count - mean.square()).clamp_min(0).sqrt().clamp_min(1 / 255)
        rounded = [tuple(round(float(value), 6) for value in values) for values in (mean, std)]
        return cls(*rounded)  # type: ignore[arg-type]

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
        mean = torch.tensor(normalisation.mean)
        std = torch.tensor(normalisation.std)
        # One scale and shift for each value of a row: 7 times as fast as broadcasting 3 channels.
        self._scale = context.to_device((1 / (255 * std)).repeat(width))
        self._shift = context.to_device((mean / std).repeat(width))
        self._context = context

    def __call__(self, images: Tensor) -> Tensor:
        """Map uint8 [batch, height, width, 3] to normalised [batch, 3, height, width]."""
        rows = images.flatten(2).float().mul_(self._scale).sub_(self._shift)
        planes = rows.to(self._context.dtype).view(images.shape).permute(0, 3, 1, 2)
        return planes.contiguous(memory_format=self._context.memory_format)
