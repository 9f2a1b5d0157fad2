"""Choose thresholds from scores, and estimate what they give: pure arrays.

Figures on the images that chose the thresholds are optimistic. `held_out` is not: for each fifth of
the images the target is searched on the other four fifths. `met` refers to it. All figures are
estimates; only `certify` (`guarantee.py`) guarantees anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.calibration.document import TargetDocument
from erde_cli.core.calibration.grid import Choice, evenly_spaced
from erde_cli.core.calibration.halves import FOLDS, fold_numbers
from erde_cli.core.calibration.result import CalibrationResult, figures_document, point_document
from erde_cli.core.calibration.search import Goal, Search
from erde_cli.core.inference.observations import Figures, Observations
from erde_cli.core.thresholds.target import ROUNDING, Target

_POINTS = 64  # of the frontier, at most


@dataclass(frozen=True)
class FrontierPoint:
    """Thresholds on the frontier of accuracy and cost, of the images that chose them.

    held_out: figures of thresholds with the same budget, cross-validated.
    """

    thresholds: tuple[float, ...]
    figures: Figures
    held_out: Figures


@dataclass(frozen=True)
class Calibrated:
    """Thresholds of the early exits, their figures, and the frontier.

    met_where_chosen: whether `chosen`, the figures on the images that chose the thresholds, meet
    the target. met: whether `held_out` does. frontier: cheapest first, ends included.
    """

    thresholds: tuple[float, ...]
    target: Target
    images: int
    met_where_chosen: bool
    met: bool
    chosen: Figures
    held_out: Figures
    frontier: tuple[FrontierPoint, ...]


def calibrate(observations: Observations, target: Target) -> Calibrated:
    """Search the thresholds for a target, and cross-validate the search.

    The result is the cheapest that is accurate enough, or the most accurate within a budget. If
    even leaving at the first exit exceeds the budget, all images leave there.

    Raises:
        ValueError: the metric is balanced accuracy and the observations have no classes, or the
            other way round.
    """
    if (target.metric == "balanced_accuracy") != (observations.classes is not None):
        raise ValueError("balanced accuracy, and nothing else, needs the class of every image")
    costs = costs_of(observations, target)
    search = Search(observations, costs)
    folds = _folds(observations, costs)
    thresholds = _thresholds(search, observations, target, costs)
    chosen = observations.figures(observations.exits(thresholds))
    full = float(observations.cumulative_macs[-1])
    held_out = _held_out(
        observations, folds, lambda fold: _thresholds(fold.search, fold.rest, target, costs)
    )
    return Calibrated(
        thresholds,
        target,
        len(observations),
        target.met(chosen, full),
        target.met(held_out, full),
        chosen,
        held_out,
        _frontier(search, observations, folds),
    )


def costs_of(observations: Observations, target: Target) -> FloatArray:
    """Cost of leaving at each exit, float64 [exits], in the unit that the target limits."""
    latencies = observations.latencies
    costs = target.cost(
        observations.cumulative_macs.tolist(), None if latencies is None else latencies.tolist()
    )
    return np.array(costs, dtype=np.float64)


@dataclass(frozen=True)
class _Fold:
    """One fold: numbers of the images it scores, and a search on the others."""

    scored: IntArray
    rest: Observations
    search: Search

    @cached_property
    def frontier(self) -> list[tuple[Choice, FloatArray]]:
        """Frontier of the other images, cheapest first."""
        return self.search.frontier()


def _folds(observations: Observations, costs: FloatArray) -> list[_Fold]:
    count = len(observations)
    numbers = fold_numbers(count)
    folds = []
    for number in range(min(FOLDS, count)):
        inside = numbers == number
        # A single image is searched on itself.
        rest = observations.only(~inside if count > 1 else inside)
        folds.append(_Fold(np.flatnonzero(inside), rest, Search(rest, costs)))
    return folds


def _thresholds(
    search: Search, observations: Observations, target: Target, costs: FloatArray
) -> tuple[float, ...]:
    fixed = target.fixed_thresholds(len(search.grid.sizes))
    if fixed is not None:
        return fixed
    return search.grid.thresholds(search.best(Goal.of(target, observations, costs)))


def _held_out(
    observations: Observations, folds: list[_Fold], choose_in: Callable[[_Fold], tuple[float, ...]]
) -> Figures:
    """Figures of all images, each under thresholds chosen without its fold."""
    exits = np.empty(len(observations), dtype=np.int64)
    for fold in folds:
        exits[fold.scored] = observations.only(fold.scored).exits(choose_in(fold))
    return observations.figures(exits)


def _frontier(
    search: Search, observations: Observations, folds: list[_Fold]
) -> tuple[FrontierPoint, ...]:
    """At most 64 points, evenly spaced in cost, each with the held-out figures of its budget."""
    points = search.frontier()
    never = (0,) * len(search.grid.sizes)
    if points[-1][0] != never:  # an end, even if a cheaper choice is as accurate
        points = [*points, (never, search.grid.evaluate(never))]
    if len(points) > _POINTS:
        kept = evenly_spaced(np.array([value[1] for _, value in points]), _POINTS)
        points = [points[place] for place in kept]
    frontier = []
    for choice, value in points:
        thresholds = search.grid.thresholds(choice)
        budget = float(value[1]) / len(observations)
        held_out = _held_out(observations, folds, partial(_within, budget=budget))
        figures = observations.figures(observations.exits(thresholds))
        frontier.append(FrontierPoint(thresholds, figures, held_out))
    return tuple(frontier)


def _within(fold: _Fold, budget: float) -> tuple[float, ...]:
    """The most accurate point of a fold's frontier within a mean cost."""
    points = fold.frontier
    most = budget * len(fold.rest) * (1 + ROUNDING)
    within = [choice for choice, value in points if value[1] <= most]
    return fold.search.grid.thresholds(within[-1] if within else points[0][0])


def estimated_result(
    calibrated: Calibrated, observations: Observations, half_b: IntArray
) -> CalibrationResult:
    """Result of a search, without a guarantee.

    Args:
        calibrated: the search.
        observations: of all images that it searched on.
        half_b: numbers of the images in the test half; `evaluate` compares their exits with later
            images.
    """
    half = observations.only(half_b)
    return CalibrationResult(
        point_document(calibrated.thresholds, calibrated.chosen, half),
        TargetDocument.of(calibrated.target),
        calibrated.images,
        calibrated.met,
        calibrated.met_where_chosen,
        figures_document(calibrated.held_out),
        observations.exit_accuracy,
        observations.exit_balanced_accuracy,
        None,
        [
            point_document(point.thresholds, point.figures, half, held_out=point.held_out)
            for point in calibrated.frontier
        ],
    )
