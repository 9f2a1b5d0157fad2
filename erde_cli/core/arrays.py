"""Array types that packages share. Docstrings give the shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]
ImageArray = NDArray[np.uint8]  # [images, height, width, 3], RGB
IntArray = NDArray[np.int64]
