"""Normalisation of pixels to mean 0 and standard deviation 1 in every channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context

_IMAGES_AT_ONCE = 512
_PIXELS_AT_ONCE = _IMAGES_AT_ONCE * 32 * 32  # keeps copies in float64 small


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, for pixel values from 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def of(cls, store: ImageStore) -> Normalisation:
        """Mean and standard deviation of all pixels of a split, rounded to 6 digits."""
        height, width = store.images.shape[1:3]
        count = len(store) * height * width
        at_once = max(1, min(_IMAGES_AT_ONCE, _PIXELS_AT_ONCE // (height * width)))
        total, squares = torch.zeros(2, 3, dtype=torch.float64)
        for start in range(0, len(store), at_once):
            pixels = store.part(start, at_once).reshape(-1, 3).double() / 255
            total += pixels.sum(dim=0)
            squares += pixels.square().sum(dim=0)
        mean = total / count
        # A constant channel would be divided by 0; 1/255 is one grey level.
        std = (squares / count - mean.square()).clamp_min(0).sqrt().clamp_min(1 / 255)
        rounded = [tuple(round(float(value), 6) for value in values) for values in (mean, std)]
        return cls(*rounded)  # type: ignore[arg-type]

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Scale and shift, float32 [3] each: a level x from 0 to 255 becomes x * scale - shift."""
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return 1 / (255 * std), mean / std

    def rescale(self, other: Normalisation) -> tuple[Tensor, Tensor] | None:
        """Scale and shift, float32 [3] each, to another normalisation; None if it is the same."""
        if self == other:
            return None
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        other_mean, other_std = torch.tensor(other.mean), torch.tensor(other.std)
        return std / other_std, (mean - other_mean) / other_std

    def to_json(self) -> dict[str, list[float]]:
        """Form in `bundle.json`."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, document: dict[str, list[float]]) -> Normalisation:
        """Read the form in `bundle.json`."""
        return cls(tuple(document["mean"]), tuple(document["std"]))  # type: ignore[arg-type]


class Normaliser:
    """Converts uint8 images to a network's input, in its number format and memory layout."""

    def __init__(self, normalisation: Normalisation, width: int, context: Context) -> None:
        scale, shift = normalisation.scale_and_shift()
        # One scale and shift for each value of a row is 7 times as fast as broadcasting 3 channels.
        self._scale = context.to_device(scale.repeat(width))
        self._shift = context.to_device(shift.repeat(width))
        self._context = context

    def __call__(self, images: Tensor) -> Tensor:
        """Map uint8 [batch, height, width, 3] to normalised [batch, 3, height, width]."""
        rows = images.flatten(2).float().mul_(self._scale).sub_(self._shift)
        planes = rows.to(self._context.dtype).view(images.shape).permute(0, 3, 1, 2)
        return planes.contiguous(memory_format=self._context.memory_format)
