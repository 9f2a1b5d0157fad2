"""Thresholds from scores: pure arrays, no model, no files.

The choice is made on the same images that score it, so its own accuracy flatters it. `held_out`
does not: the same target chosen on four fifths and scored on the fifth, five times over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from erde_cli.core.metrics import Adaptive, adaptive
from erde_cli.core.targets import Target, one_target
from erde_cli.core.threshold_search import Observations, Search

__all__ = [
    "Calibrated",
    "Observations",
    "Target",
    "calibrate",
    "choose",
    "one_target",
]

_FOLDS = 5


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
