"""The one chain of threshold vectors that a promise is looked for along: pure arrays.

It starts at "never early" and rises exit by exit. It is built on half A, and knows nothing of the
level or the confidence of a promise, so that one chain serves them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from erde_cli.core.arrays import FloatArray
from erde_cli.core.calibration.grid import candidates

LONGEST = 50  # threshold vectors
_STRIDES = (1, 2, 4, 8, 16, 32)  # candidates ahead that a step may take at one exit
_LARGEST_STEP = 0.03  # of all that can be saved; larger ones only where no smaller one saves

Choice = tuple[int, ...]
Thresholds = tuple[float, ...]


@dataclass(frozen=True)
class _Step:
    """A vector on the path, and the sums over the images of its losses and costs."""

    choice: Choice
    loss: float
    cost: float


def build_chain(scores: FloatArray, losses: FloatArray, costs: FloatArray) -> list[Thresholds]:
    """At most 50 vectors of thresholds, none lower at any exit than the one before.

    From "never early", always the step at one exit that adds the least risk for what it saves;
    then thinned to an even spacing in cost.

    Args:
        scores: float64 [images, exits]; the last column is not used.
        losses: what leaving at each exit adds to the risk, float64 [images, exits]; 0 at the last.
        costs: of leaving at each exit, [exits].
    """
    early = scores.shape[1] - 1
    levels = [candidates(scores[:, i]) for i in range(early)]
    path = _Path(scores, levels, losses, costs).steps() if early and len(scores) else []
    if not path:
        return [(0.0,) * early]
    saved = path[0].cost - np.array([step.cost for step in path])
    even = np.linspace(0, saved[-1], LONGEST)
    kept = np.unique(np.abs(saved[:, None] - even).argmin(axis=0))
    return [
        tuple(float(level[g]) for level, g in zip(levels, path[at].choice, strict=True))
        for at in kept
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
        self._first = [
            np.searchsorted(level, scores[:, i], side="right").astype(np.uint8)
            for i, level in enumerate(levels)
        ]
        self._sizes = [len(level) for level in levels]
        self._losses = np.ascontiguousarray(losses.T, dtype=np.float64)
        self._costs = costs.astype(np.float64)

    def steps(self) -> list[_Step]:
        """Every vector on the way, "never early" first."""
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
        """Vectors that are higher at one exit, up to "always" there."""
        found: set[Choice] = set()
        for exit_, size in enumerate(self._sizes):
            for stride in (*_STRIDES, size):
                level = min(choice[exit_] + stride, size - 1)
                found.add((*choice[:exit_], level, *choice[exit_ + 1 :]))
        found.discard(choice)
        return sorted(found)

    def _step(self, choice: Choice) -> _Step:
        exits = np.full(self._losses.shape[1], len(choice), dtype=np.uint8)
        for exit_ in reversed(range(len(choice))):
            np.putmask(exits, self._first[exit_] <= choice[exit_], exit_)
        counts = np.bincount(exits, minlength=len(self._costs))
        loss = self._losses[exits, np.arange(len(exits))].sum()
        return _Step(choice, float(loss), float(counts @ self._costs))


def _preference(here: _Step, step: _Step) -> tuple[float, float, Choice]:
    """The least risk added for what is saved; among equals the shortest step."""
    saved = here.cost - step.cost
    return (step.loss - here.loss) / saved, saved, step.choice
