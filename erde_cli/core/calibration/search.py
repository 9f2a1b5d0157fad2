"""Search per-exit thresholds on the grid: the best choice for a goal, and the frontier.

Exact for up to 3 early exits (4 exits). With more, two exits are searched at a time and the others
held: along rising budgets for the frontier, then from neighbours on the frontier for the goal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.calibration.grid import Choice, Grid
from erde_cli.core.inference.observations import Observations
from erde_cli.core.thresholds.target import ROUNDING, Target

_EXACT = 3  # early exits
_BUDGETS = 10  # steps along the frontier, where it is not exact
_ROUNDS = 20  # more than were ever needed


@dataclass(frozen=True)
class Goal:
    """The cheapest with `least_right` right answers, or the most accurate within `most_cost`.

    Both are sums over the images. A right answer counts 1, or the weight of its image.
    """

    least_right: float | None = None
    most_cost: float | None = None

    @classmethod
    def of(cls, target: Target, observations: Observations, costs: FloatArray) -> Goal:
        """Goal of a target on these images."""
        count, full = len(observations), float(costs[-1])
        share = target.least_accuracy(observations.full_by_metric)
        if share is not None:
            return cls(least_right=float(observations.weights.sum()) * (share - ROUNDING))
        return cls(most_cost=count * (target.most_cost(full) + ROUNDING * full))

    def excess(self, values: FloatArray) -> FloatArray:
        """Violation of the goal by (right, cost) [2, ...], float64 [...]; 0 if the goal is met."""
        right, cost = values
        short = cost - (self.most_cost or 0)
        if self.least_right is not None:
            short = self.least_right - right
        excess: FloatArray = np.maximum(short, 0)
        return excess

    def key(self, value: FloatArray) -> tuple[float, float, float]:
        """Sort key, smaller is better: violation, then the aim, then the other figure."""
        first, second = self._aims(value)
        return float(self.excess(value)), float(first), float(second)

    def best(self, values: FloatArray) -> int:
        """Flat index of the best of (right, cost) [2, ...]; of equals the first.

        The first has the lowest thresholds, so ties go to the cautious side.
        """
        excess = self.excess(values).ravel()
        places = np.flatnonzero(excess == excess.min())
        for aim in self._aims(values):
            figures = aim.ravel()[places]
            places = places[figures == figures.min()]
        return int(places[0])

    def _aims(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        right, cost = values
        return (cost, -right) if self.least_right is not None else (-right, cost)


class Search:
    """Search of one threshold per early exit."""

    def __init__(self, observations: Observations, costs: FloatArray) -> None:
        self.grid = Grid(observations, costs)
        self._early = len(self.grid.sizes)

    def best(self, goal: Goal) -> Choice:
        """The best choice for a goal."""
        if self._early == 0:
            return ()
        if self._early <= _EXACT:
            return self._choice(goal.best(self._everything))
        values = np.array([value for _, value in self._path]).T
        nearest = goal.best(values)
        starts = [self._path[at][0] for at in range(nearest - 2, nearest + 3)
                  if 0 <= at < len(self._path)]  # fmt: skip
        choices = [self._descend(start, goal) for start in starts]
        return min(choices, key=lambda choice: (*goal.key(self.grid.evaluate(choice)), *choice))

    def frontier(self) -> list[tuple[Choice, FloatArray]]:
        """Choices that no other beats in both figures, with (right, cost), cheapest first."""
        if self._early == 0:
            return [((), self.grid.evaluate(()))]
        if self._early <= _EXACT:
            flat = self._everything.reshape(2, -1)
            return [(self._choice(at), flat[:, at]) for at in _undominated(flat)]
        return self._along_the_path()

    def _choice(self, place: int) -> Choice:
        return tuple(int(g) for g in np.unravel_index(place, self.grid.sizes))

    @cached_property
    def _everything(self) -> FloatArray:
        """(right, cost) of every choice, [2, sizes...]."""
        sizes = self.grid.sizes
        if self._early == 1:
            return self.grid.table((0,), 0, 0).reshape(2, -1)
        *before, i, j = range(self._early)
        held = [(g,) for g in range(sizes[0])] if before else [()]
        tables = [self.grid.table((*first, 0, 0), i, j) for first in held]
        return np.stack(tables, axis=1).reshape(2, *sizes)

    @cached_property
    def _path(self) -> list[tuple[Choice, FloatArray]]:
        """The most accurate choice found for each budget, and (right, cost), cheapest first."""
        always = tuple(size - 1 for size in self.grid.sizes)
        never = (0,) * self._early
        ends = [self.grid.evaluate(choice) for choice in (always, never)]
        path = [(always, ends[0]), (never, ends[1])]
        for start in (always, never):
            budgets = np.linspace(ends[0][1], ends[1][1], _BUDGETS + 2)[1:-1]
            choice = start
            for budget in budgets if start == always else budgets[::-1]:
                choice = self._descend(choice, Goal(most_cost=float(budget)), rounds=1)
                path.append((choice, self.grid.evaluate(choice)))
        return sorted(path, key=lambda one: (one[1][1], one[0]))

    def _along_the_path(self) -> list[tuple[Choice, FloatArray]]:
        """Frontier of all changes of two neighbouring exits to a choice on the path."""
        held = [(choice, i) for choice, _ in self._path for i in range(self._early - 1)]
        tables = [self.grid.table(choice, i, i + 1).reshape(2, -1) for choice, i in held]
        kept = [_undominated(table) for table in tables]
        values = np.concatenate([table[:, at] for table, at in zip(tables, kept, strict=True)], 1)
        owner = np.repeat(np.arange(len(held)), [len(at) for at in kept])
        place = np.concatenate(kept)
        frontier = []
        for at in _undominated(values):
            choice, i = held[owner[at]]
            columns = self.grid.sizes[i + 1]
            frontier.append((_with(choice, i, i + 1, int(place[at]), columns), values[:, at]))
        return frontier

    def _descend(self, start: Choice, goal: Goal, rounds: int = _ROUNDS) -> Choice:
        """Optimise two exits at a time, the others held, until nothing improves."""
        choice, key = start, goal.key(self.grid.evaluate(start))
        for _ in range(rounds):
            before = key
            for i, j in combinations(range(self._early), 2):
                table = self.grid.table(choice, i, j)
                trial = _with(choice, i, j, goal.best(table), table.shape[2])
                value = goal.key(self.grid.evaluate(trial))
                if (value, trial) < (key, choice):
                    choice, key = trial, value
            if key >= before:
                break
        return choice


def _with(choice: Sequence[int], i: int, j: int, place: int, columns: int) -> Choice:
    changed = list(choice)
    changed[i], changed[j] = divmod(place, columns)
    return tuple(changed)


def _undominated(values: FloatArray) -> IntArray:
    """Columns of (right, cost) [2, n] that no other beats in both, cheapest first."""
    order = np.lexsort((np.arange(values.shape[1]), -values[0], values[1]))
    right = values[0][order]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(right)[:-1]])
    kept: IntArray = order[right > best_before]
    return kept
