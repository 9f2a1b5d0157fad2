"""An image from a formula and its answers, which travel in an export.

Whoever runs the export elsewhere makes the image and compares the answers: no file is needed.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from erde_cli.core.arrays import ImageArray

Formula = Literal["pixel[y][x][c] = ((n + 2) * x + (n + 3) * y + (c + 1) * x * y) mod 256"]
FORMULA: Formula = get_args(Formula)[0]
CANDIDATES = 8  # values of n that are tried
TOLERANCE = 5e-4  # of probabilities and scores of float32; runtimes differ by about 1e-6
INT8_TOLERANCE = 0.05  # other kernels round features to the next of 256 levels


class ExitAnswer(BaseModel):
    """Answer of one exit, from 0: label, probability of that label, score; at its temperature."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    exit: int = Field(ge=0)
    label: int = Field(ge=0)
    probability: Annotated[float, Field(ge=0, le=1)]
    score: float


class CheckVector(BaseModel):
    """An image and the answers of an export's exits.

    n: number in the formula of the pixels. tolerance: of probabilities and scores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    formula: Formula
    n: int = Field(ge=0, lt=CANDIDATES)
    tolerance: float = Field(gt=0, le=1)
    exits: list[ExitAnswer] = Field(min_length=1)


def vector_pixels(size: int, n: int) -> ImageArray:
    """Pixels of the formula, uint8 [size, size, 3]."""
    y, x, c = np.ogrid[:size, :size, :3]
    pixels: ImageArray = (((n + 2) * x + (n + 3) * y + (c + 1) * x * y) % 256).astype(np.uint8)
    return pixels
