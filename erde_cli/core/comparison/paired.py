"""Paired differences over seeds and test images: intervals, p-values, verdicts.

A verdict follows from the interval that is shown with it.

There are two sources of chance: another seed trains another network, and other test images score
it differently. One interval holds both variances,

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
from scipy.optimize import brentq
from scipy.stats import norm, t

from erde_cli.core.arrays import BoolArray, FloatArray
from erde_cli.core.inference.observations import Z_95

Verdict = Literal["better", "worse", "no difference shown"]

LEVEL = 0.05
_LEAST_P = 1e-12  # smaller p-values are reported as this


@dataclass(frozen=True)
class Difference:
    """A paired difference of each seed, and their mean with its interval.

    sd_seeds: standard deviation over seeds. sd_images: √v. interval: 95 %. interval_images: 95 %,
    over test images only, for exactly these networks. p_value: the level at which the interval
    would touch 0. With one seed, sd_seeds, interval and p_value are None.
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
        of_seeds: the difference of each seed on all test images.
        drawn: the differences on resampled test images, float64 [seeds, draws]; a draw has the
            same images for all seeds.
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


def simultaneous(found: Difference, count: int) -> tuple[float, float] | None:
    """Interval of one of `count` differences that hold together with 95 %; None with one seed.

    Bonferroni: each misses with a probability of 5 % / count, so any of them misses with at most
    5 %, whatever their dependence.
    """
    if found.sd_seeds is None:
        return None
    half = _half_width(LEVEL / count, found.sd_seeds, len(found.of_seeds), found.sd_images)
    return found.mean - half, found.mean + half


def corrected(p_value: float | None, count: int) -> float | None:
    """P-value of one of `count` differences; below 5 % where `simultaneous` excludes 0."""
    return None if p_value is None else min(1.0, p_value * count)


def verdict(interval: tuple[float, float] | None) -> Verdict | None:
    """Verdict on a difference by its interval; None with one seed, which has no interval."""
    if interval is None:
        return None
    low, high = interval
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no difference shown"


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


def paired_drop_interval(reference: BoolArray, other: BoolArray) -> tuple[float, float]:
    """95 % interval, in points, of the accuracy of `reference` minus that of `other`.

    One image is added to each kind of disagreement. This keeps the coverage where few images
    differ.

    Args:
        reference: whether the answer to each image is right, bool [images].
        other: the same of another network on the same images, bool [images].

    Source: Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data", J. Educational and Behavioral Statistics 37, 2012.
    """
    count = len(reference) + 2
    lost = (float(np.sum(reference & ~other)) + 1) / count
    gained = (float(np.sum(other & ~reference)) + 1) / count
    difference = lost - gained
    error = np.sqrt((lost + gained - difference**2) / count)
    low, high = difference - Z_95 * error, difference + Z_95 * error
    return 100 * float(max(low, -1)), 100 * float(min(high, 1))
