"""Thresholds from scores: pure arrays, no model, no files.

The choice is made on the same images that score it, so its own accuracy flatters it. `held_out`
does not: the same target chosen on four fifths and scored on the fifth, five times over. `met`
refers to it. All of these are estimates; a promise is made by `certify` (module risk) alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.calibration.search import Choice, Goal, Search
from erde_cli.core.calibration.thresholds_file import figures_to_json, target_to_json
from erde_cli.core.inference.observations import Figures, Observations
from erde_cli.core.storage.json_files import Json
from erde_cli.core.targets import Target, one_target
from erde_cli.core.thresholds import read_threshold, write_threshold

__all__ = [
    "Calibrated",
    "Figures",
    "FrontierPoint",
    "Observations",
    "Target",
    "calibrate",
    "choose",
    "one_target",
]

_FOLDS = 5
_POINTS = 64  # of the frontier, at most
_ROUNDING = 1e-9


@dataclass(frozen=True)
class FrontierPoint:
    """Thresholds in nats that no others beat in both figures, on the images that chose them.

    held_out: thresholds for the same budget, chosen on four fifths and scored on the fifth.
    """

    thresholds: tuple[float, ...]
    figures: Figures
    held_out: Figures


@dataclass(frozen=True)
class Calibrated:
    """Thresholds of the early exits in nats, and what they give.

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
    held_out = _held_out(
        observations, folds, lambda fold: _thresholds(fold.search, fold.rest, target, costs)
    )
    return Calibrated(
        thresholds,
        target,
        len(observations),
        meets(chosen, target, observations),
        meets(held_out, target, observations),
        chosen,
        held_out,
        _frontier(search, observations, folds),
    )


def choose(observations: Observations, target: Target) -> tuple[tuple[float, ...], bool]:
    """Thresholds [exits - 1] in nats, and whether they meet the target on these images.

    `max_drop`, `min_accuracy`: the cheapest that is accurate enough. `max_macs`, `max_latency`:
    the most accurate within the budget; where even leaving at once costs more, leaving at once.
    Accurate by the target's metric: with balanced accuracy every class counts the same.
    """
    _check_metric(observations, target)
    costs = costs_of(observations, target)
    thresholds = _thresholds(Search(observations, costs), observations, target, costs)
    figures = observations.figures(observations.exits(thresholds))
    return thresholds, meets(figures, target, observations)


def costs_of(observations: Observations, target: Target) -> FloatArray:
    """What leaving at each exit costs, [exits]: ms for `max_latency`, else MACs."""
    if target.kind != "max_latency":
        return observations.cumulative_macs
    if observations.latencies is None:
        raise ValueError("max_latency needs the latency of every exit")
    return observations.latencies


def _check_metric(observations: Observations, target: Target) -> None:
    if (target.metric == "balanced_accuracy") != (observations.classes is not None):
        raise ValueError("balanced accuracy, and nothing else, needs the class of every image")


def meets(figures: Figures, target: Target, observations: Observations) -> bool:
    """Whether figures meet a target; `max_drop` refers to the same images' last exit."""
    if target.kind == "threshold":
        return True
    accuracy = figures.by_metric if figures.by_metric is not None else figures.agreement
    if target.kind in ("max_drop", "min_accuracy"):
        least = target.value
        if target.kind == "max_drop":
            least = observations.full_by_metric - target.value / 100
        return accuracy is not None and accuracy >= least - _ROUNDING
    if target.kind == "max_latency":
        return (figures.expected_latency or 0) <= target.value * (1 + _ROUNDING)
    full = float(observations.cumulative_macs[-1])
    return figures.expected_macs <= full * (target.value + _ROUNDING)


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
    if target.kind == "threshold":
        return (target.value,) * len(search.grid.sizes)
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


def estimated_content(found: Calibrated) -> Json:
    """What a search for an estimate puts into `thresholds.json`."""
    return {
        **figures_to_json(found.chosen),
        "thresholds": [write_threshold(value) for value in found.thresholds],
        "target": target_to_json(found.target),
        "images": found.images,
        "met": found.met,
        "met_where_chosen": found.met_where_chosen,
        "certified": False,
        "held_out": figures_to_json(found.held_out),
        "certificate": None,
        "frontier": [
            {
                **figures_to_json(point.figures),
                "thresholds": [write_threshold(value) for value in point.thresholds],
                "held_out": figures_to_json(point.held_out),
                "certified": False,
                "bounds": None,
            }
            for point in found.frontier
        ],
    }


def add_half_b(content: Json, observations: Observations, half_b: IntArray) -> None:
    """Note how many images of half B leave at each exit, at every point of a calibration.

    It is what `evaluate` compares later images with.
    """
    half = observations.only(half_b)
    for point in [content, *content["frontier"]]:
        exits = half.exits([read_threshold(value) for value in point["thresholds"]])
        counts = np.bincount(exits, minlength=len(half.cumulative_macs))
        point["half_b_exits"] = [int(count) for count in counts]
