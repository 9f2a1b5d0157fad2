"""Paired differences over seeds and test images: intervals, p-values, and what may be said.

Two sources of chance: another seed trains another network, and other test images score it
otherwise. Both variances are in one interval,

    mean ± √((t_{S−1} · s / √S)² + (1.96)² · v)

s: standard deviation of the paired difference over S seeds. v: bootstrap variance, over test
images, of the mean over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm, t

FloatArray = NDArray[np.float64]
Verdict = Literal["better", "worse", "no difference shown"]

LEVEL = 0.05
_LEAST_P = 1e-12  # below it nothing is told apart


@dataclass(frozen=True)
class Difference:
    """A paired difference: of each seed, and what can be said of their mean.

    sd_seeds: over seeds, None of one seed. sd_images: √v. interval: 95 %; None of one seed, where
    nobody knows what another seed would have given. interval_images: 95 %, of test images alone,
    as if these very networks were all there could be. p_value: the level at which the interval
    would touch 0; None of one seed.
    """

    of_seeds: tuple[float, ...]
    mean: float
    sd_seeds: float | None
    sd_images: float
    interval: tuple[float, float] | None
    interval_images: tuple[float, float]
    p_value: float | None


def difference(of_seeds: Sequence[float], drawn: FloatArray) -> Difference:
    """Mean over seeds of a paired difference, with its interval.

    Args:
        of_seeds: the difference of each seed, on all test images.
        drawn: the same on resampled test images, [seeds, draws]; one draw, the same images.
    """
    count, mean = len(of_seeds), float(np.mean(of_seeds))
    images = float(np.std(drawn.mean(axis=0), ddof=1))
    spread = float(np.std(of_seeds, ddof=1)) if count > 1 else None
    alone = _half_width(LEVEL, None, 1, images)
    interval = p_value = None
    if spread is not None:
        half = _half_width(LEVEL, spread, count, images)
        interval = (mean - half, mean + half)
        p_value = _p_value(mean, spread, count, images)
    return Difference(
        tuple(map(float, of_seeds)), mean, spread, images,
        interval, (mean - alone, mean + alone), p_value,
    )  # fmt: skip


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for their number, in their order; None stays None.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6, 1979.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[place] = largest
    return corrected


def verdict(mean: float, p_value: float | None) -> Verdict | None:
    """What is said of a difference; None of one seed, of which nothing can be said."""
    if p_value is None:
        return None
    if p_value >= LEVEL or mean == 0:
        return "no difference shown"
    return "better" if mean > 0 else "worse"


def _half_width(level: float, spread: float | None, count: int, images: float) -> float:
    """Half the width of the interval that misses with a probability of `level`."""
    of_images = float(norm.isf(level / 2)) * images
    if spread is None:
        return of_images
    of_seeds = float(t.isf(level / 2, count - 1)) * spread / math.sqrt(count)
    return math.hypot(of_seeds, of_images)


def _p_value(mean: float, spread: float, count: int, images: float) -> float:
    """The level at which the interval touches 0; it shrinks as the level grows."""

    def beyond(level: float) -> float:
        return _half_width(level, spread, count, images) - abs(mean)

    if mean == 0:
        return 1.0
    if beyond(_LEAST_P) <= 0:
        return _LEAST_P
    return float(brentq(beyond, _LEAST_P, 1.0))
