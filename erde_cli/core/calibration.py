"""Thresholds from scores: pure arrays, no model, no files.

The choice is made on the same images that score it, so its own accuracy flatters it. `held_out`
does not: the same target chosen on four fifths and scored on the fifth, five times over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from erde_cli.core.errors import InputError
from erde_cli.core.metrics import Adaptive, adaptive
from erde_cli.core.threshold_search import Observations, Search, Target
from erde_cli.core.thresholds import read_threshold

__all__ = [
    "Calibrated",
    "Observations",
    "Target",
    "calibrate",
    "choose",
    "one_target",
]

_FOLDS = 5
_OPTIONS = {"threshold": "--threshold", "max_drop": "--max-drop", "max_macs": "--max-macs"}


def one_target(
    *,
    threshold: float | str | None = None,
    max_drop: float | None = None,
    max_macs: float | None = None,
) -> Target:
    """Make a target from the one argument that is given.

    Args:
        threshold: nats, "always" or "never".
        max_drop: accuracy points, 0 to 100.
        max_macs: share of the full MACs, above 0 and at most 1.

    Raises:
        InputError: none or several are given, or the value is out of its bounds.
    """
    values = {"threshold": threshold, "max_drop": max_drop, "max_macs": max_macs}
    given = {kind: value for kind, value in values.items() if value is not None}
    if len(given) != 1:
        raise InputError(
            "Calibration needs exactly one target.",
            got=" and ".join(_OPTIONS[kind] for kind in given) or "none",
            expected="--threshold NATS, --max-drop POINTS, or --max-macs RATIO",
            hint="start with --max-drop 1",
        )
    if threshold is not None:
        return Target("threshold", read_threshold(threshold))
    if max_drop is not None:
        if not 0 <= max_drop <= 100:
            _refuse("max_drop", max_drop, "accuracy points from 0 to 100")
        return Target("max_drop", max_drop)
    if max_macs is None or not 0 < max_macs <= 1:
        _refuse("max_macs", max_macs, "a share of the full MACs, above 0 and at most 1")
    return Target("max_macs", max_macs)


def _refuse(kind: str, value: object, expected: str) -> NoReturn:
    raise InputError(f"{_OPTIONS[kind]} is out of bounds.", got=str(value), expected=expected)


@dataclass(frozen=True)
class Calibrated:
    """Thresholds of the early exits in nats, whether the target is met, and what they give."""

    thresholds: tuple[float, ...]
    target: Target
    met: bool
    images: int
    full_accuracy: float
    chosen: Adaptive
    held_out: Adaptive


def calibrate(observations: Observations, target: Target) -> Calibrated:
    """Choose thresholds for a target, and score the choice where it was not made."""
    thresholds, met = choose(observations, target)
    return Calibrated(
        thresholds,
        target,
        met,
        len(observations),
        observations.full_accuracy,
        observations.under(thresholds),
        _cross_fitted(observations, target),
    )


def choose(observations: Observations, target: Target) -> tuple[tuple[float, ...], bool]:
    """Thresholds [exits - 1] in nats, and whether they meet the target on these images.

    `max_drop`: the cheapest whose accuracy is at most that far below the last exit. `max_macs`:
    the most accurate within the budget; where even leaving at once costs more, leaving at once.
    Exact on the grid of candidates for up to 3 exits; pairwise descent from several starts beyond.
    """
    early = len(observations.cumulative_macs) - 1
    if target.kind == "threshold":
        return (target.value,) * early, True
    search = Search(observations, target)
    if early == 0:
        return (), search.meets(search.evaluate(()))
    return search.best()


def _cross_fitted(observations: Observations, target: Target) -> Adaptive:
    count = len(observations)
    fold = np.random.default_rng(0).permutation(count) % _FOLDS
    exits = np.empty(count, dtype=np.int64)
    for number in range(min(_FOLDS, count)):
        inside = fold == number
        if inside.all():  # a single image: nothing is left to choose on
            inside = np.zeros_like(inside)
        thresholds, _ = choose(observations.only(~inside), target)
        scored = fold == number
        exits[scored] = observations.only(scored).exits(thresholds)
    return adaptive(exits, observations.correct, observations.cumulative_macs)
