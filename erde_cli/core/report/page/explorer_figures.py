"""What thresholds give on the images of the sliders: the rule that the page's script follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from erde_cli.core.report.document import Explorer

POSITIONS = 1000  # of a slider; the first is never, the last is always


@dataclass(frozen=True)
class ExplorerFigures:
    """accuracy: 0 to 1. macs: expected. milliseconds: expected, or None. rates: [exits]."""

    accuracy: float
    macs: float
    milliseconds: float | None
    rates: tuple[float, ...]


def figures_under(explorer: Explorer, thresholds: Sequence[float]) -> ExplorerFigures:
    """Figures under thresholds, one per exit but the last.

    An image leaves at the first exit with score < θ, compared as double precision numbers, as
    `routing.first_exit` does; the last exit takes the rest.
    """
    images = len(explorer.scores)
    limits = np.array([*thresholds, math.inf], dtype=np.float64)
    leaves = explorer.scores.astype(np.float64) < limits
    leaves[:, -1] = True
    exits = leaves.argmax(axis=1)
    counts = np.bincount(exits, minlength=len(limits)).tolist()
    right = int(explorer.correct[np.arange(images), exits].sum())
    rates = tuple(count / images for count in counts)
    time = explorer.milliseconds
    return ExplorerFigures(
        right / images,
        _expected(rates, explorer.costs),
        None if time is None else _expected(rates, time),
        rates,
    )


def _expected(rates: Sequence[float], costs: Sequence[float]) -> float:
    total = 0.0
    for rate, cost in zip(rates, costs, strict=True):  # in this order in the script as well
        total += rate * cost
    return total


def theta_at(position: int, limit: float) -> float:
    """θ of a slider's position; small ones are finer, because most scores are small."""
    if position <= 0:
        return 0.0
    if position >= POSITIONS:
        return math.inf
    share = position / POSITIONS
    return float(f"{limit * share * share:.4g}")


def position_of(theta: float, limit: float) -> int:
    """Position of a slider nearest to θ."""
    if theta <= 0:
        return 0
    if theta >= limit:
        return POSITIONS
    return min(max(round(POSITIONS * math.sqrt(theta / limit)), 1), POSITIONS - 1)


def theta_word(theta: float) -> str:
    """θ for a command line: "never", "always", or the shortest digits that give the same number."""
    return {0.0: "never", math.inf: "always"}.get(theta, repr(float(theta)))
