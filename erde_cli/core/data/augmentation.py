"""Random crop, mirror image and cutout of a whole batch at once, on uint8 images.

What happens to image n in view v is a pure function of (seed, n, v).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from erde_cli.core.arrays import IntArray
from erde_cli.core.randomness import integers_per_image


@dataclass(frozen=True)
class _Draws:
    """What was drawn for a batch: int64 [batch] each, None where it does not happen."""

    top: IntArray | None
    left: IntArray | None
    mirrored: IntArray | None
    hole_y: IntArray | None
    hole_x: IntArray | None


@dataclass(frozen=True)
class AugmentationPlan:
    """What may happen to a training image; sizes in pixels, 0 for none."""

    crop: int
    flip: bool
    cutout: int
    fill: tuple[int, int, int] = (0, 0, 0)  # colour of the cutout, 0 to 255

    def __call__(
        self, images: Tensor, rows: Tensor, numbers: IntArray, seed: int, view: int
    ) -> Tensor:
        """Take one augmented batch, uint8 [batch, height, width, 3].

        Args:
            images: the whole store, uint8 [n, height, width, 3]; it is not changed.
            rows: places of the batch's images in the store, int64 [batch], on the same device.
            numbers: the images' numbers in their source, int64 [batch].
            seed: the run's seed.
            view: the same view of an image is always the same.
        """
        draws = self._draw(numbers, images.shape[1], images.shape[2], seed, view)
        if images.device.type == "cpu":
            batch = images.numpy()[rows.numpy()]  # a copy
            return torch.from_numpy(self._by_copies(batch, draws))
        return self._by_index(images[rows], draws)

    def _draw(self, numbers: IntArray, height: int, width: int, seed: int, view: int) -> _Draws:
        def draw(happens: bool, purpose: str, below: int) -> IntArray | None:
            if not happens:
                return None
            return integers_per_image(numbers, below, seed, f"augmentation/{purpose}", view)

        crops, holes = self.crop > 0, self.cutout > 0
        return _Draws(
            draw(crops, "top", 2 * self.crop + 1),
            draw(crops, "left", 2 * self.crop + 1),
            draw(self.flip, "flip", 2),
            draw(holes, "cutout/y", height),
            draw(holes, "cutout/x", width),
        )

    def _by_copies(self, batch: NDArray[np.uint8], draws: _Draws) -> NDArray[np.uint8]:
        """Copy windows row by row: on a CPU many times as fast as an index for every pixel."""
        count, height, width, _ = batch.shape
        if draws.top is not None and draws.left is not None:
            border = self.crop
            padded = np.zeros((count, height + 2 * border, (width + 2 * border) * 3), np.uint8)
            inside = slice(3 * border, 3 * (border + width))
            padded[:, border : border + height, inside] = batch.reshape(count, height, -1)
            windows = sliding_window_view(padded, (height, width * 3), axis=(1, 2))
            chosen = windows[np.arange(count), draws.top, 3 * draws.left]
            batch = chosen.reshape(count, height, width, 3)
        if draws.mirrored is not None:
            mirrored = draws.mirrored.astype(bool)
            batch[mirrored] = batch[mirrored, :, ::-1]
        if draws.hole_y is not None and draws.hole_x is not None:
            rows = _inside(torch.from_numpy(draws.hole_y), height, self.cutout)
            columns = _inside(torch.from_numpy(draws.hole_x), width, self.cutout)
            batch[(rows[:, :, None] & columns[:, None, :]).numpy()] = self.fill
        return batch

    def _by_index(self, batch: Tensor, draws: _Draws) -> Tensor:
        """Gather every pixel by its index: what an accelerator is good at, without any waiting."""
        device = batch.device
        count, height, width, _ = batch.shape

        def there(drawn: IntArray) -> Tensor:
            return torch.from_numpy(drawn).to(device, non_blocking=True)

        lines = torch.arange(height, device=device).expand(count, height)
        columns = torch.arange(width, device=device).expand(count, width)
        if draws.mirrored is not None:
            columns = torch.where(there(draws.mirrored).bool()[:, None], columns.flip(1), columns)
        if draws.top is not None and draws.left is not None:
            batch = F.pad(batch, (0, 0, self.crop, self.crop, self.crop, self.crop))
            lines, columns = lines + there(draws.top)[:, None], columns + there(draws.left)[:, None]
        image = torch.arange(count, device=device)[:, None, None]
        batch = batch[image, lines[:, :, None], columns[:, None, :]]
        if draws.hole_y is not None and draws.hole_x is not None:
            hole_rows = _inside(there(draws.hole_y), height, self.cutout)
            hole_columns = _inside(there(draws.hole_x), width, self.cutout)
            hole = (hole_rows[:, :, None] & hole_columns[:, None, :])[..., None]
            fill = torch.tensor(self.fill, dtype=torch.uint8).to(device, non_blocking=True)
            batch = torch.where(hole, fill, batch)
        return batch


def _inside(centre: Tensor, side: int, cutout: int) -> Tensor:
    """Whether each position of a side lies in the cutout around `centre`, bool [batch, side]."""
    start = centre[:, None] - cutout // 2
    position = torch.arange(side, device=centre.device)
    return (position >= start) & (position < start + cutout)
