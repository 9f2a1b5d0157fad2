"""Random crop, mirror image and cutout of a whole batch at once, on uint8 tensors.

What happens to image n in epoch e is a pure function of (seed, n, e).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from erde_cli.core.randomness import integers_per_image


@dataclass(frozen=True)
class AugmentationPlan:
    """What may happen to a training image; sizes in pixels, 0 for none."""

    crop: int
    flip: bool
    cutout: int
    fill: tuple[int, int, int] = (0, 0, 0)  # colour of the cutout, 0 to 255

    def pad(self, images: Tensor) -> Tensor:
        """Add the black border that crops reach into, uint8 [n, height + 2c, width + 2c, 3]."""
        if self.crop == 0:
            return images
        return F.pad(images, (0, 0, self.crop, self.crop, self.crop, self.crop))

    def __call__(
        self, padded: Tensor, rows: Tensor, numbers: NDArray[np.int64], seed: int, epoch: int
    ) -> Tensor:
        """Take one augmented batch, uint8 [batch, height, width, 3].

        Args:
            padded: the whole store, from `pad`.
            rows: places of the batch's images in the store, int64 [batch].
            numbers: the images' numbers in their source, int64 [batch].
            seed: the run's seed.
            epoch: the view; the same epoch gives the same view.
        """

        def draw(purpose: str, below: int) -> Tensor:
            drawn = integers_per_image(numbers, below, seed, f"augmentation/{purpose}", epoch)
            return torch.from_numpy(drawn).to(padded.device)

        height, width = (side - 2 * self.crop for side in padded.shape[1:3])
        lines = torch.arange(height, device=padded.device) + draw("top", 2 * self.crop + 1)[:, None]
        columns = torch.arange(width, device=padded.device).expand(len(numbers), width)
        if self.flip:
            mirrored = draw("flip", 2).bool()[:, None]
            columns = torch.where(mirrored, columns.flip(1), columns)
        columns = columns + draw("left", 2 * self.crop + 1)[:, None]
        images = padded[rows[:, None, None], lines[:, :, None], columns[:, None, :]]
        if self.cutout:
            inside_y = _inside(draw("cutout/y", height), height, self.cutout)
            inside_x = _inside(draw("cutout/x", width), width, self.cutout)
            hole = (inside_y[:, :, None] & inside_x[:, None, :])[..., None]
            fill = torch.tensor(self.fill, dtype=torch.uint8, device=padded.device)
            images = torch.where(hole, fill, images)
        return images


def _inside(centre: Tensor, side: int, cutout: int) -> Tensor:
    """Whether each position of a side lies in the cutout around `centre`, bool [batch, side]."""
    start = centre[:, None] - cutout // 2
    position = torch.arange(side, device=centre.device)
    return (position >= start) & (position < start + cutout)
