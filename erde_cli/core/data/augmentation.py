"""Random crop, mirror image, TrivialAugment and cutout of a whole batch of uint8 images.

The augmentation of image n in view v is a pure function of (seed, n, v).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor
from torch.nn import functional as F

from erde_cli.core.arrays import ImageArray, IntArray
from erde_cli.core.data.seeded_transforms import trivially_augmented
from erde_cli.core.randomness import derive_seed, integers_per_image


@dataclass(frozen=True)
class _Draws:
    """Random numbers of a batch, int64 [batch] each; None where an augmentation is off.

    trivial: seeds of TrivialAugment, one for each image.
    """

    top: IntArray | None
    left: IntArray | None
    mirrored: IntArray | None
    trivial: list[int] | None
    hole_y: IntArray | None
    hole_x: IntArray | None


@dataclass(frozen=True)
class AugmentationPlan:
    """Augmentations of a training image; sizes in pixels, 0 for none.

    crop: border of zeros around the image, from which a window of its size is cut. flip: mirror
    an image with probability 1/2. trivial: one random change of colour or shape (TrivialAugment),
    on a CPU only. cutout: side of the square that is filled. fill: colour of the square, and of
    pixels that come from outside of the image in TrivialAugment.

    Source: crop and flip: He et al., "Deep residual learning for image recognition", CVPR 2016,
    section 4.2; cutout: DeVries and Taylor, "Improved regularization of convolutional neural
    networks with cutout", 2017, arXiv 1708.04552; TrivialAugment: Müller and Hutter,
    "TrivialAugment: tuning-free yet state-of-the-art data augmentation", ICCV 2021, the wide
    search space.
    """

    crop: int
    flip: bool
    cutout: int
    fill: tuple[int, int, int] = (0, 0, 0)
    trivial: bool = False

    def __call__(
        self, images: Tensor, rows: Tensor, numbers: IntArray, seed: int, view: int
    ) -> Tensor:
        """Augmented images of one batch, uint8 [batch, height, width, 3].

        Args:
            images: the whole store, uint8 [n, height, width, 3]; it is not changed. On a CPU if
                `trivial` is set.
            rows: positions of the batch's images in the store, int64 [batch], on the same device.
            numbers: the images' numbers in their source, int64 [batch].
            seed: the run's seed.
            view: number of the view; equal views of an image have equal pixels.
        """
        draws = self._draw(numbers, images.shape[1], images.shape[2], seed, view)
        if images.device.type == "cpu":
            batch = images.numpy()[rows.numpy()]  # a copy
            return torch.from_numpy(self._by_copies(batch, draws))
        return self._by_index(images[rows], draws)

    def _draw(self, numbers: IntArray, height: int, width: int, seed: int, view: int) -> _Draws:
        def draw(enabled: bool, purpose: str, below: int) -> IntArray | None:
            if not enabled:
                return None
            return integers_per_image(numbers, below, seed, f"augmentation/{purpose}", view)

        crops, holes = self.crop > 0, self.cutout > 0
        return _Draws(
            draw(crops, "top", 2 * self.crop + 1),
            draw(crops, "left", 2 * self.crop + 1),
            draw(self.flip, "flip", 2),
            _trivial_seeds(numbers, seed, view) if self.trivial else None,
            draw(holes, "cutout/y", height),
            draw(holes, "cutout/x", width),
        )

    def _by_copies(self, batch: ImageArray, draws: _Draws) -> ImageArray:
        """Copy whole rows of pixels: much faster on a CPU than indexing every pixel."""
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
            # torch is 6 times as fast as a negative stride of numpy.
            batch[mirrored] = torch.from_numpy(batch[mirrored]).flip(2).numpy()
        if draws.trivial is not None:
            for image, seed in zip(batch, draws.trivial, strict=True):
                image[:] = trivially_augmented(image, self.fill, seed)
        if draws.hole_y is not None and draws.hole_x is not None:
            rows = _inside(torch.from_numpy(draws.hole_y), height, self.cutout)
            columns = _inside(torch.from_numpy(draws.hole_x), width, self.cutout)
            batch[(rows[:, :, None] & columns[:, None, :]).numpy()] = self.fill
        return batch

    def _by_index(self, batch: Tensor, draws: _Draws) -> Tensor:
        """Gather every pixel by its index: fast on an accelerator, and never waits for it."""
        device = batch.device
        count, height, width, _ = batch.shape

        def on_device(drawn: IntArray) -> Tensor:
            return torch.from_numpy(drawn).to(device, non_blocking=True)

        lines = torch.arange(height, device=device).expand(count, height)
        columns = torch.arange(width, device=device).expand(count, width)
        if draws.mirrored is not None:
            mirrored = on_device(draws.mirrored).bool()[:, None]
            columns = torch.where(mirrored, columns.flip(1), columns)
        if draws.top is not None and draws.left is not None:
            batch = F.pad(batch, (0, 0, self.crop, self.crop, self.crop, self.crop))
            lines = lines + on_device(draws.top)[:, None]
            columns = columns + on_device(draws.left)[:, None]
        image = torch.arange(count, device=device)[:, None, None]
        batch = batch[image, lines[:, :, None], columns[:, None, :]]
        if draws.hole_y is not None and draws.hole_x is not None:
            hole_rows = _inside(on_device(draws.hole_y), height, self.cutout)
            hole_columns = _inside(on_device(draws.hole_x), width, self.cutout)
            hole = (hole_rows[:, :, None] & hole_columns[:, None, :])[..., None]
            fill = torch.tensor(self.fill, dtype=torch.uint8).to(device, non_blocking=True)
            batch = torch.where(hole, fill, batch)
        return batch


def _trivial_seeds(numbers: IntArray, seed: int, view: int) -> list[int]:
    return [derive_seed(seed, "augmentation/trivial", view, number) for number in numbers.tolist()]


def _inside(centre: Tensor, side: int, cutout: int) -> Tensor:
    """Whether each position of a side lies in the cutout around `centre`, bool [batch, side]."""
    start = centre[:, None] - cutout // 2
    position = torch.arange(side, device=centre.device)
    return (position >= start) & (position < start + cutout)
