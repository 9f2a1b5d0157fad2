"""Accuracy over cost of early-exit networks, and its variation over resampled test images.

Cost is a share: expected MACs divided by the network's own full MACs. A curve has one point for
each vector of thresholds. The thresholds were chosen on other images. No envelope is drawn over
the points: that would choose thresholds on the images that score them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from erde_cli.core.arrays import FloatArray
from erde_cli.core.inference.observations import Observations
from erde_cli.core.randomness import derive_seed
from erde_cli.core.thresholds.scores import ENTROPY

BUDGETS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # shares of the full MACs
DRAWS = 2000
_STEPS = 100  # of one θ for all exits, from 0 to ln K
_AT_ONCE = 100  # draws held in memory together
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Curve:
    """Cost and correctness of each image under each vector of thresholds.

    costs: share of the full MACs, float64 [images, points]. right: 1 where the answer is right,
    else 0, float64 [images, points].
    """

    costs: FloatArray
    right: FloatArray

    @cached_property
    def cost(self) -> FloatArray:
        """Mean cost of each point, [points]."""
        mean: FloatArray = self.costs.mean(axis=0)
        return mean

    @cached_property
    def accuracy(self) -> FloatArray:
        """Accuracy of each point, 0 to 1, [points]."""
        mean: FloatArray = self.right.mean(axis=0)
        return mean

    @cached_property
    def auc(self) -> float:
        """Mean accuracy over budgets from the cost of exit 0 to 1."""
        return float(area(self.cost, self.accuracy))

    def at(self, budgets: Sequence[float] = BUDGETS) -> list[float | None]:
        """Accuracy at each budget; None below the cost of exit 0."""
        values = interpolated(self.cost, self.accuracy, budgets)
        return [None if math.isnan(value) else float(value) for value in values]


def with_ends(thresholds: Sequence[Sequence[float]], early: int) -> list[tuple[float, ...]]:
    """Vectors of thresholds in nats, each once, with both ends: always at exit 0, and never early.

    The cheapest vector of a calibration lets all calibration images leave at exit 0. Some test
    images may still stay, so the smallest budgets would be left to chance without the ends.
    """
    always, never = (math.inf,) * early, (0.0,) * early
    return list(dict.fromkeys([always, *map(tuple, thresholds), never]))


def one_threshold(classes: int) -> list[float]:
    """Values of one θ for all exits in nats: 0 (never early), hundredths of ln K, inf (always).

    They are fixed, so nothing is chosen on any image.
    """
    largest = ENTROPY.largest(classes)
    return [*(step / _STEPS * largest for step in range(_STEPS + 1)), math.inf]


def cost_curve(images: Observations, thresholds: Sequence[Sequence[float]]) -> Curve:
    """Curve of a network on images, one point for each vector of thresholds in nats."""
    exits = np.stack([images.exits(vector) for vector in thresholds], axis=1)
    rows = np.arange(len(images))[:, None]
    shares = images.cumulative_macs / images.cumulative_macs[-1]
    return Curve(shares[exits], images.correct[rows, exits].astype(np.float64))


def area(cost: FloatArray, accuracy: FloatArray) -> FloatArray:
    """Mean accuracy over budgets, 1/(c_max − c_0) · ∫ A(b) db from c_0 to c_max, [...].

    Exact by trapezoids, since A is piecewise linear. Points are sorted by cost, points of equal
    cost keep their order. Where all points cost the same, the mean of their accuracy.

    Args:
        cost: float64 [..., points].
        accuracy: float64 [..., points].
    """
    cost, accuracy = _sorted(cost, accuracy)
    widths = np.diff(cost, axis=-1)
    whole = (widths * (accuracy[..., 1:] + accuracy[..., :-1]) / 2).sum(axis=-1)
    span = cost[..., -1] - cost[..., 0]
    single = accuracy.mean(axis=-1)
    mean: FloatArray = np.where(span > _ROUNDING, whole / np.maximum(span, _ROUNDING), single)
    return mean


def interpolated(cost: FloatArray, accuracy: FloatArray, budgets: Sequence[float]) -> FloatArray:
    """Accuracy at budgets, linear between points, float64 [budgets]; NaN below the least cost.

    Args:
        cost: float64 [points].
        accuracy: float64 [points].
        budgets: shares of the full MACs.
    """
    cost, accuracy = _sorted(cost, accuracy)
    shares = np.asarray(budgets, dtype=np.float64)
    values: FloatArray = np.interp(shares, cost, accuracy)
    values[shares < cost[0] - _ROUNDING] = np.nan
    return values


def resampled(
    curves: Sequence[Curve], budgets: Sequence[float] = BUDGETS, draws: int = DRAWS
) -> FloatArray:
    """AUC, then accuracy at each budget, of every curve on resampled images.

    The images of a draw are the same for all curves, so differences stay paired. Thresholds do
    not change. A draw is a pure function of its number.

    Returns:
        float64 [curves, draws, 1 + budgets]; NaN at budgets below the least cost.

    Raises:
        ValueError: the curves are not of the same number of images.
    """
    count = len(curves[0].right)
    if any(len(curve.right) != count for curve in curves):
        raise ValueError("curves are compared on the same images")
    values = np.empty((len(curves), draws, 1 + len(budgets)))
    for start in range(0, draws, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, draws))
        counts = np.stack([_counts(count, draw) for draw in range(part.start, part.stop)])
        for number, curve in enumerate(curves):
            cost, accuracy = counts @ curve.costs / count, counts @ curve.right / count
            values[number, part, 0] = area(cost, accuracy)
            for row, pair in enumerate(zip(cost, accuracy, strict=True), start):
                values[number, row, 1:] = interpolated(*pair, budgets)
    return values


def _counts(count: int, draw: int) -> FloatArray:
    """How often a draw with replacement contains each image, float64 [images]."""
    generator = np.random.Generator(np.random.Philox(derive_seed(0, "compare/images", draw)))
    return np.bincount(generator.integers(count, size=count), minlength=count).astype(np.float64)


def _sorted(cost: FloatArray, accuracy: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both sorted by cost along the last axis."""
    order = np.argsort(cost, axis=-1, kind="stable")
    return np.take_along_axis(cost, order, -1), np.take_along_axis(accuracy, order, -1)
