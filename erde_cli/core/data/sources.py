"""The interface of image sources, and how their images become pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from PIL import Image

from erde_cli.core.arrays import BoolArray, ImageArray, IntArray
from erde_cli.core.images.pixels import DEFAULT_RULES, PixelRules, to_rgb
from erde_cli.core.recipe.sections.data import Data

Progress = Callable[[int, int], None]  # images done, images in all


class ImageSource(Protocol):
    """Labelled images, numbered from 0."""

    class_names: tuple[str, ...]
    labels: IntArray  # [images]
    is_test: BoolArray | None  # [images]; None: the source has no test split

    @property
    def is_calibration(self) -> BoolArray | None:
        """Mask of the calibration split, bool [images]; None: it is drawn from train."""
        ...

    @property
    def first_same(self) -> IntArray | None:
        """Number of the first identical image, int64 [images]; None: copies are not looked for."""
        ...

    def digest(self) -> str:
        """SHA-256 of all images and labels, independent of their location."""
        ...

    def read(
        self, numbers: IntArray, size: int, progress: Progress | None = None
    ) -> tuple[ImageArray, IntArray]:
        """Images, uint8 [n, size, size, 3], and the numbers of those that could be read [n]."""
        ...


def to_array(image: Image.Image, size: int, rules: PixelRules = DEFAULT_RULES) -> ImageArray:
    """Convert an image to RGB, uint8 [size, size, 3]."""
    return np.asarray(to_rgb(image, size, rules)[0])


def rules_of(settings: Data) -> PixelRules:
    """The rules in the data section of a recipe."""
    return PixelRules(
        settings.transparent, settings.bit_depth, settings.frames, settings.kept_share,
        settings.interpolation,
    )  # fmt: skip
