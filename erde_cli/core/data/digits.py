"""The handwritten digits that come with scikit-learn."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from erde_cli.core.arrays import BoolArray, ImageArray, IntArray
from erde_cli.core.data.sources import Progress, to_array


class DigitsSource:
    """scikit-learn's 1,797 handwritten digits: 8x8 pixels, grey levels 0 to 16.

    Source: Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI, 1998.
    """

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        self.class_names = tuple(str(digit) for digit in range(10))
        self.labels: IntArray = digits.target.astype(np.int64)
        self.is_test: BoolArray | None = None
        self.is_calibration = self.first_same = None
        self._images: ImageArray = np.rint(digits.images * (255 / 16)).astype(np.uint8)

    def digest(self) -> str:
        """SHA-256 of all images and labels."""
        return hashlib.sha256(self._images.tobytes() + self.labels.tobytes()).hexdigest()

    def read(
        self, numbers: IntArray, size: int, progress: Progress | None = None
    ) -> tuple[ImageArray, IntArray]:
        """Images, uint8 [n, size, size, 3], and their numbers [n]."""
        del progress
        images = [to_array(Image.fromarray(self._images[number]), size) for number in numbers]
        return np.stack(images), numbers
