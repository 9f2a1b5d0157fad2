"""Random transforms of torchvision, drawn from a seed instead of the process's generator."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.overrides import TorchFunctionMode

from erde_cli.core.arrays import ImageArray
from erde_cli.core.platform.torchvision_import import torchvision_transforms

_DRAWS = (torch.rand, torch.randint, Tensor.uniform_)  # the random functions that they call


class Crop(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class _DrawFrom(TorchFunctionMode):
    """Inside this context, torch's random functions draw from a generator of its own.

    It applies to this thread only: another one can draw from the process's generator meanwhile.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func in _DRAWS:
            given = {**given, "generator": self._generator}
        return func(*args, **given)


def random_crop(height: int, width: int, smallest: float, seed: int) -> Crop:
    """The rectangle that torchvision's RandomResizedCrop cuts from an image.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        smallest: smallest share of its area.
        seed: of the draws.
    """
    like = torch.empty(()).expand(1, height, width)
    with _DrawFrom(seed):
        return Crop(**_resized_crop(smallest).make_params([like]))


def resized(image: ImageArray, crop: Crop, side: int, interpolation: str) -> ImageArray:
    """A rectangle of an image, resized with antialiasing, uint8 [side, side, 3].

    Args:
        image: uint8 [height, width, 3].
        crop: the rectangle.
        side: of the result, in pixels.
        interpolation: bilinear or bicubic.
    """
    top, left, height, width = crop
    # By Pillow: torch's filter has several threads, which slow down a loaded machine.
    part = Image.fromarray(image[top : top + height, left : left + width])
    return np.array(part.resize((side, side), Image.Resampling[interpolation.upper()]))


def trivially_augmented(image: ImageArray, fill: tuple[int, int, int], seed: int) -> ImageArray:
    """An image after one random change of TrivialAugment (wide), uint8 [height, width, 3].

    Args:
        image: uint8 [height, width, 3].
        fill: colour of pixels that come from outside of the image.
        seed: of the draws.
    """
    # Pillow changes a single image 3 times as fast as torch.
    with _DrawFrom(seed):
        return np.asarray(_trivial_augment(fill)(Image.fromarray(image)))


@cache
def _resized_crop(smallest: float) -> Any:
    return torchvision_transforms().RandomResizedCrop(1, scale=(smallest, 1.0))


@cache
def _trivial_augment(fill: tuple[int, int, int]) -> Any:
    return torchvision_transforms().TrivialAugmentWide(fill=list(fill))
