"""Thresholds from scores: pure arrays, no model, no files.

The choice is made on the same images that score it, so its own accuracy flatters it. `held_out`
does not: the same target chosen on four fifths and scored on the fifth, five times over. `met`
refers to it. All of these are estimates; a promise is made by `certify` (`guarantee.py`) alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.calibration.document import TargetDocument
from erde_cli.core.calibration.result import CalibrationResult, figures_document, point_document
from erde_cli.core.calibration.search import Choice, Goal, Search
from erde_cli.core.inference.observations import Figures, Observations
from erde_cli.core.thresholds.target import Target

__all__ = ["Calibrated", "Figures", "FrontierPoint", "Observations", "calibrate", "choose"]

_FOLDS = 5
_POINTS = 64  # of the frontier, at most
_ROUNDING = 1e-9


@dataclass(frozen=True)
class FrontierPoint:
    """Thresholds that no others beat in both figures, on the images that chose them.

    held_out: thresholds for the same budget, chosen on four fifths and scored on the fifth.
    """

    thresholds: tuple[float, ...]
    figures: Figures
    held_out: Figures


@dataclass(frozen=True)
class Calibrated:
    """Thresholds of the early exits, and what they give.

    met_where_chosen: whether the target is met on the very images that chose the thresholds.
    met: whether `held_out` meets it. frontier: cheapest first, ends included.
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
    """Choose thresholds for a target, and score the choice where it was not made."""
    _check_metric(observations, target)
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


def choose(observations: Observations, target: Target) -> tuple[tuple[float, ...], bool]:
    """Thresholds [exits - 1], and whether they meet the target on these images.

    Either the cheapest that is accurate enough, or the most accurate within a budget; where even
    leaving at once costs more, leaving at once.
    Accurate by the target's metric: with balanced accuracy every class counts the same.
    """
    _check_metric(observations, target)
    costs = costs_of(observations, target)
    thresholds = _thresholds(Search(observations, costs), observations, target, costs)
    figures = observations.figures(observations.exits(thresholds))
    return thresholds, target.met(figures, float(observations.cumulative_macs[-1]))


def costs_of(observations: Observations, target: Target) -> FloatArray:
    """What leaving at each exit costs, [exits], in the unit that the target limits."""
    latencies = observations.latencies
    found = target.cost(
        observations.cumulative_macs.tolist(), None if latencies is None else latencies.tolist()
    )
    return np.array(found, dtype=np.float64)


def _check_metric(observations: Observations, target: Target) -> None:
    if (target.metric == "balanced_accuracy") != (observations.classes is not None):
        raise ValueError("balanced accuracy, and nothing else, needs the class of every image")


@dataclass(frozen=True)
class _Fold:
    """One fifth of the images (numbers), and a search on the others."""

    scored: IntArray
    rest: Observations
    search: Search

    @cached_property
    def frontier(self) -> list[tuple[Choice, FloatArray]]:
        """What no other choice beats on the others, cheapest first."""
        return self.search.frontier()


def _folds(observations: Observations, costs: FloatArray) -> list[_Fold]:
    count = len(observations)
    number = np.random.default_rng(0).permutation(count) % _FOLDS
    folds = []
    for one in range(min(_FOLDS, count)):
        inside = number == one
        # With a single image nothing is left to choose on.
        rest = observations.only(~inside if count > 1 else inside)
        folds.append(_Fold(np.flatnonzero(inside), rest, Search(rest, costs)))
    return folds


def _thresholds(
    search: Search, observations: Observations, target: Target, costs: FloatArray
) -> tuple[float, ...]:
    if target.fixed_threshold is not None:
        return (target.fixed_threshold,) * len(search.grid.sizes)
    return search.grid.thresholds(search.best(Goal.of(target, observations, costs)))


def _held_out(
    observations: Observations, folds: list[_Fold], choose_in: Callable[[_Fold], tuple[float, ...]]
) -> Figures:
    """Figures of every image under thresholds that were chosen without its fold."""
    exits = np.empty(len(observations), dtype=np.int64)
    for fold in folds:
        exits[fold.scored] = observations.only(fold.scored).exits(choose_in(fold))
    return observations.figures(exits)


def _frontier(
    search: Search, observations: Observations, folds: list[_Fold]
) -> tuple[FrontierPoint, ...]:
    """At most 64 points, evenly spaced in cost, each with what its budget gives held out."""
    points = search.frontier()
    never = (0,) * len(search.grid.sizes)
    if points[-1][0] != never:  # another choice is as accurate and cheaper; still an end
        points = [*points, (never, search.grid.evaluate(never))]
    cost = np.array([value[1] for _, value in points])
    even = np.linspace(cost[0], cost[-1], _POINTS)
    kept = np.unique(np.abs(cost[:, None] - even).argmin(axis=0)) if len(cost) > _POINTS else None
    found = []
    for place in range(len(points)) if kept is None else kept:
        choice, value = points[place]
        thresholds = search.grid.thresholds(choice)
        budget = float(value[1]) / len(observations)
        held_out = _held_out(observations, folds, partial(_within, budget=budget))
        figures = observations.figures(observations.exits(thresholds))
        found.append(FrontierPoint(thresholds, figures, held_out))
    return tuple(found)


def _within(fold: _Fold, budget: float) -> tuple[float, ...]:
    """The most accurate point of a fold's frontier within a mean cost."""
    points = fold.frontier
    most = budget * len(fold.rest) * (1 + _ROUNDING)
    within = [choice for choice, value in points if value[1] <= most]
    return fold.search.grid.thresholds(within[-1] if within else points[0][0])


def estimated(found: Calibrated, observations: Observations, half_b: IntArray) -> CalibrationResult:
    """The choice of a search, as an estimate.

    Args:
        found: what was searched on the observations.
        observations: every image.
        half_b: numbers of the images whose exits are counted for `evaluate`.
    """
    half = observations.only(half_b)
    return CalibrationResult(
        point_document(found.thresholds, found.chosen, half),
        TargetDocument.of(found.target),
        found.images,
        found.met,
        found.met_where_chosen,
        figures_document(found.held_out),
        observations.exit_accuracy,
        observations.exit_balanced_accuracy,
        None,
        [
            point_document(point.thresholds, point.figures, half, held_out=point.held_out)
            for point in found.frontier
        ],
    )
