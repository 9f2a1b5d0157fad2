"""Array types that packages share. Docstrings give the shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
ImageArray = NDArray[np.uint8]  # [images, height, width, 3], RGB
IntArray = NDArray[np.int64]
