"""What every source of images gives, and how one image becomes an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from erde_cli.core.arrays import ImageArray, IntArray
from erde_cli.core.images.pixels import DEFAULT_RULES, PixelRules, to_rgb

Progress = Callable[[int, int], None]


class ImageSource(Protocol):
    """Labelled images, by number; nothing is decoded before it is read."""

    class_names: tuple[str, ...]
    labels: IntArray  # [images]
    is_test: NDArray[np.bool_] | None  # [images]; None: the source has no test split

    @property
    def is_calibration(self) -> NDArray[np.bool_] | None:
        """The same of its calibration split."""
        ...

    @property
    def first_same(self) -> IntArray | None:
        """Number of the first identical image, int64 [images]; None where that is not looked at."""
        ...

    def digest(self) -> str:
        """SHA-256 of all images and labels, wherever they lie."""
        ...

    def read(
        self, numbers: IntArray, size: int, progress: Progress | None = None
    ) -> tuple[ImageArray, IntArray]:
        """Decode images: uint8 [n, size, size, 3], and the numbers that could be read [n]."""
        ...


def to_array(image: Image.Image, size: int, rules: PixelRules = DEFAULT_RULES) -> ImageArray:
    """Turn any image into RGB, uint8 [size, size, 3]; the whole image is kept, and squashed."""
    return np.asarray(to_rgb(image, size, rules)[0])
