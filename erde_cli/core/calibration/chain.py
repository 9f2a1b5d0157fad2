"""The chain of threshold vectors that a guarantee tests in order: pure arrays.

It starts at "never early" and rises exit by exit. The tuning half builds it. It does not depend on
the level or the confidence of the guarantee, so one chain serves them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from erde_cli.core.arrays import FloatArray
from erde_cli.core.calibration.grid import Choice, candidates, evenly_spaced, first_candidates

LONGEST = 50  # threshold vectors
_STRIDES = (1, 2, 4, 8, 16, 32)  # candidates that a step can skip ahead at one exit
_LARGEST_STEP = 0.03  # share of the largest saving; larger steps only if no smaller one saves


@dataclass(frozen=True)
class _Step:
    """A vector on the path, and its loss and cost as sums over the images."""

    choice: Choice
    loss: float
    cost: float


def build_chain(
    scores: FloatArray, losses: FloatArray, costs: FloatArray
) -> list[tuple[float, ...]]:
    """At most 50 vectors of thresholds [exits - 1], no threshold lower than in the vector before.

    Each step raises the threshold of the exit that adds the least risk per cost saved. The path is
    then thinned to an even spacing in cost.

    Args:
        scores: float64 [images, exits]; the last column is not used.
        losses: loss of leaving at each exit, float64 [images, exits]; 0 at the last.
        costs: of leaving at each exit, float64 [exits].
    """
    early = scores.shape[1] - 1
    levels = [candidates(scores[:, i]) for i in range(early)]
    path = _Path(scores, levels, losses, costs).steps() if early and len(scores) else []
    if not path:
        return [(0.0,) * early]
    saved = path[0].cost - np.array([step.cost for step in path])
    return [
        tuple(float(level[g]) for level, g in zip(levels, path[at].choice, strict=True))
        for at in evenly_spaced(saved, LONGEST)
    ]


class _Path:
    """The greedy path over the candidates of every early exit."""

    def __init__(
        self,
        scores: FloatArray,
        levels: Sequence[FloatArray],
        losses: FloatArray,
        costs: FloatArray,
    ) -> None:
        self._first = first_candidates(scores, levels)
        self._sizes = [len(level) for level in levels]
        self._losses = np.ascontiguousarray(losses.T, dtype=np.float64)
        self._costs = costs.astype(np.float64)

    def steps(self) -> list[_Step]:
        """All vectors of the path, "never early" first."""
        here = self._step((0,) * len(self._sizes))
        always = self._step(tuple(size - 1 for size in self._sizes))
        largest = _LARGEST_STEP * (here.cost - always.cost)
        path = [here]
        while True:
            ahead = [self._step(choice) for choice in self._ahead(here.choice)]
            ahead = [step for step in ahead if step.cost < here.cost]
            if not ahead:
                return path
            least = min(here.cost - step.cost for step in ahead)
            near = [step for step in ahead if here.cost - step.cost <= max(largest, least)]
            here = min(near, key=partial(_preference, here))
            path.append(here)

    def _ahead(self, choice: Choice) -> list[Choice]:
        """Vectors that are higher at one exit, up to "always"."""
        higher: set[Choice] = set()
        for exit_, size in enumerate(self._sizes):
            for stride in (*_STRIDES, size):
                level = min(choice[exit_] + stride, size - 1)
                higher.add((*choice[:exit_], level, *choice[exit_ + 1 :]))
        higher.discard(choice)
        return sorted(higher)

    def _step(self, choice: Choice) -> _Step:
        exits = np.full(self._losses.shape[1], len(choice), dtype=np.uint8)
        for exit_ in reversed(range(len(choice))):
            np.putmask(exits, self._first[exit_] <= choice[exit_], exit_)
        counts = np.bincount(exits, minlength=len(self._costs))
        loss = self._losses[exits, np.arange(len(exits))].sum()
        return _Step(choice, float(loss), float(counts @ self._costs))


def _preference(here: _Step, step: _Step) -> tuple[float, float, Choice]:
    """Risk added per cost saved, then the shorter step: smaller is better."""
    saved = here.cost - step.cost
    return (step.loss - here.loss) / saved, saved, step.choice
