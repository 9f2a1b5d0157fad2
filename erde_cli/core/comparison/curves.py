"""Accuracy over cost of early-exit networks, as one curve each, and how test images sway it.

Cost is a share: expected MACs over the network's own full MACs. A curve has one point for each
vector of thresholds, chosen on other images; what it gives on these is taken as it comes. No
envelope is drawn over it, since that would choose thresholds on the images that score them.
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
_AT_ONCE = 100  # draws whose counts lie in memory together
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Curve:
    """What each image costs and whether it is answered right, under each vector of thresholds.

    costs: share of the full MACs, float64 [images, points]. right: 0 or 1, float64, the same shape.
    """

    costs: FloatArray
    right: FloatArray

    @cached_property
    def cost(self) -> FloatArray:
        """Mean cost of each point, [points]."""
        found: FloatArray = self.costs.mean(axis=0)
        return found

    @cached_property
    def accuracy(self) -> FloatArray:
        """Accuracy of each point, 0 to 1, [points]."""
        found: FloatArray = self.right.mean(axis=0)
        return found

    @cached_property
    def auc(self) -> float:
        """Mean accuracy over budgets from the cost of exit 0 to 1."""
        return float(area(self.cost, self.accuracy))

    def at(self, budgets: Sequence[float] = BUDGETS) -> list[float | None]:
        """Accuracy at each budget; None below the cost of exit 0, which nothing can reach."""
        found = interpolated(self.cost, self.accuracy, budgets)
        return [None if math.isnan(value) else float(value) for value in found]


def with_ends(thresholds: Sequence[Sequence[float]], early: int) -> list[tuple[float, ...]]:
    """Vectors of thresholds (nats), each once, with both ends: all leave at exit 0; never early.

    The cheapest vector of a calibration lets all of *its* images leave at exit 0; that of these
    images some stay would leave the smallest budgets to chance.
    """
    always, never = (math.inf,) * early, (0.0,) * early
    return list(dict.fromkeys([always, *map(tuple, thresholds), never]))


def one_threshold(classes: int) -> list[float]:
    """Values of one θ for all exits, nats: 0 (never early), hundredths of ln K, inf (always).

    Fixed beforehand, so that nothing is chosen on any image.
    """
    largest = ENTROPY.largest(classes)
    return [*(step / _STEPS * largest for step in range(_STEPS + 1)), math.inf]


def cost_curve(seen: Observations, thresholds: Sequence[Sequence[float]]) -> Curve:
    """The curve of a network on images, one point for each vector of thresholds in nats."""
    exits = np.stack([seen.exits(vector) for vector in thresholds], axis=1)
    every = np.arange(len(seen))[:, None]
    shares = seen.cumulative_macs / seen.cumulative_macs[-1]
    return Curve(shares[exits], seen.correct[every, exits].astype(np.float64))


def area(cost: FloatArray, accuracy: FloatArray) -> FloatArray:
    """1/(c_max − c_0) · ∫ A(b) db from c_0 to c_max (1 where "never" is among the points), [...].

    Exact by trapezoids, since A is piecewise linear. Points are taken in the order of their cost;
    points of one cost in the order given. A network of one cost has that accuracy.

    Args:
        cost: [..., points].
        accuracy: [..., points].
    """
    cost, accuracy = _sorted(cost, accuracy)
    widths = np.diff(cost, axis=-1)
    whole = (widths * (accuracy[..., 1:] + accuracy[..., :-1]) / 2).sum(axis=-1)
    span = cost[..., -1] - cost[..., 0]
    single = accuracy.mean(axis=-1)
    found: FloatArray = np.where(span > _ROUNDING, whole / np.maximum(span, _ROUNDING), single)
    return found


def interpolated(cost: FloatArray, accuracy: FloatArray, budgets: Sequence[float]) -> FloatArray:
    """Accuracy at budgets, linear between points in their realised cost, [budgets].

    NaN below the least cost. Arguments as of `area`, [points].
    """
    cost, accuracy = _sorted(cost, accuracy)
    wanted = np.asarray(budgets, dtype=np.float64)
    found: FloatArray = np.interp(wanted, cost, accuracy)
    found[wanted < cost[0] - _ROUNDING] = np.nan
    return found


def resampled(
    curves: Sequence[Curve], budgets: Sequence[float] = BUDGETS, draws: int = DRAWS
) -> FloatArray:
    """AUC, then accuracy at each budget, of every curve on resampled images.

    The images of a draw are the same for all curves, so that differences stay paired; thresholds
    stay as they are. A draw is a pure function of its number.

    Returns:
        float64 [curves, draws, 1 + budgets], NaN at budgets that nothing reaches.

    Raises:
        ValueError: the curves are not of the same number of images.
    """
    count = len(curves[0].right)
    if any(len(curve.right) != count for curve in curves):
        raise ValueError("curves are compared on the same images")
    found = np.empty((len(curves), draws, 1 + len(budgets)))
    for start in range(0, draws, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, draws))
        counts = np.stack([_counts(count, draw) for draw in range(part.start, part.stop)])
        for number, curve in enumerate(curves):
            cost, accuracy = counts @ curve.costs / count, counts @ curve.right / count
            found[number, part, 0] = area(cost, accuracy)
            for row, pair in enumerate(zip(cost, accuracy, strict=True), start):
                found[number, row, 1:] = interpolated(*pair, budgets)
    return found


def _counts(count: int, draw: int) -> FloatArray:
    """How often each image is in a draw of as many, with replacement, [images]."""
    generator = np.random.Generator(np.random.Philox(derive_seed(0, "compare/images", draw)))
    return np.bincount(generator.integers(count, size=count), minlength=count).astype(np.float64)


def _sorted(cost: FloatArray, accuracy: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both in the order of the cost, along the last axis."""
    order = np.argsort(cost, axis=-1, kind="stable")
    return np.take_along_axis(cost, order, -1), np.take_along_axis(accuracy, order, -1)
