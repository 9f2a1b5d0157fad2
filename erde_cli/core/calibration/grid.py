"""The grid on which thresholds are searched: pure arrays.

Each exit has up to 64 candidates, midway between neighbouring scores. Figures are sums over the
images, not means: right answers (1 each, or weighted by class) and MACs are whole numbers, so equal
choices compare as equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.inference.observations import Observations

LEVELS = 64  # candidate thresholds per exit; a finer grid fits the noise of the split

Choice = tuple[int, ...]  # number of a candidate, for each early exit


def candidates(scores: FloatArray) -> FloatArray:
    """Never (0), at most 64 midpoints of neighbouring scores at even quantiles, always (inf)."""
    values = np.unique(scores)
    inner = values[:-1] + np.diff(values) / 2
    if len(inner) > LEVELS:
        levels = np.arange(1, LEVELS + 1) / (LEVELS + 1)
        cuts = np.quantile(scores, levels, method="lower")
        inner = inner[np.unique(np.searchsorted(values[:-2], cuts))]
    return np.concatenate([[0.0], inner[inner > 0], [math.inf]])


def first_candidates(scores: FloatArray, levels: Sequence[FloatArray]) -> list[NDArray[np.uint8]]:
    """For each early exit, the first candidate under which each image leaves, uint8 [images].

    Small integers: the search compares and gathers them thousands of times.
    """
    return [
        np.searchsorted(level, scores[:, i], side="right").astype(np.uint8)
        for i, level in enumerate(levels)
    ]


def evenly_spaced(costs: FloatArray, count: int) -> IntArray:
    """Places of at most `count` of ascending costs, ends included, evenly spaced in cost."""
    even = np.linspace(costs[0], costs[-1], count)
    return np.unique(np.abs(costs[:, None] - even).argmin(axis=0))


class Grid:
    """Candidates of every early exit on some images; costs: of leaving at each exit, [exits]."""

    def __init__(self, observations: Observations, costs: FloatArray) -> None:
        early = observations.scores.shape[1] - 1
        self.levels = [candidates(observations.scores[:, i]) for i in range(early)]
        self.sizes = [len(level) for level in self.levels]
        self._first = first_candidates(observations.scores, self.levels)
        self._right = np.ascontiguousarray(observations.correct.T * observations.weights)
        self._costs = costs.astype(np.float64)
        self._width = np.int64(len(observations))

    def thresholds(self, choice: Sequence[int]) -> tuple[float, ...]:
        """Thresholds of a choice, [exits - 1]."""
        return tuple(float(level[g]) for level, g in zip(self.levels, choice, strict=True))

    def evaluate(self, choice: Sequence[int]) -> FloatArray:
        """(right answers, cost) of a choice, sums over the images, float64 [2]."""
        right, cost = self._later(choice, 0)
        return np.array([right.sum(), cost.sum()])

    def table(self, choice: Sequence[int], i: int, j: int) -> FloatArray:
        """(right, cost) for all candidates of exits i < j, [2, candidates of i, candidates of j].

        With i = j the table has one column. Cumulative sums take one pass over the images, not one
        for each pair of candidates.
        """
        fixed, here = self._gone_before(choice, i)
        size_i, size_j = self.sizes[i], self.sizes[j] if i != j else 1
        at_i, right_i = self._first[i][here], self._right[i][here]
        held = list(choice)
        held[j] = -1  # nobody leaves at j
        right, cost = self._later(held, i + 1, here)
        leaving = [right_i - right, self._costs[i] - cost]  # change if an image leaves at i
        table = np.empty((2, size_i, size_j))
        for row, stays in enumerate((right, cost)):
            change = np.bincount(at_i, leaving[row], minlength=size_i + 1)[:size_i].cumsum()
            table[row] = (fixed[row] + stays.sum() + change)[:, None]
        if i != j:
            table += self._gain_of_second(choice, i, j, here, (right, cost))
        return table

    def _gone_before(
        self, choice: Sequence[int], exit_: int
    ) -> tuple[tuple[float, float], IntArray]:
        """(right, cost) of images that leave before an exit, and numbers of those that reach it."""
        here = np.ones(self._right.shape[1], dtype=bool)
        right = cost = 0.0
        for i in range(exit_):
            leaves = here & (self._first[i] <= choice[i])
            right += self._right[i][leaves].sum()
            cost += self._costs[i] * np.count_nonzero(leaves)
            here &= ~leaves
        return (right, cost), np.flatnonzero(here)

    def _gain_of_second(
        self, choice: Sequence[int], i: int, j: int, here: IntArray,
        stays: tuple[FloatArray, FloatArray],
    ) -> FloatArray:  # fmt: skip
        """Change of (right, cost) by exit j for images that pass i, [2, candidates i, j]."""
        reaches = np.ones(len(here), dtype=bool)
        for between in range(i + 1, j):
            reaches &= self._first[between][here] > choice[between]
        rows = here[reaches]
        size_i, size_j = self.sizes[i], self.sizes[j]
        cell = self._first[i][rows] * np.int64(size_j + 1) + self._first[j][rows]
        changes = (self._right[j][rows] - stays[0][reaches], self._costs[j] - stays[1][reaches])
        gain = np.empty((2, size_i, size_j))
        for row, change in enumerate(changes):
            sums = np.bincount(cell, change, minlength=(size_i + 1) * (size_j + 1))
            by_j = sums[: (size_i + 1) * (size_j + 1)].reshape(size_i + 1, size_j + 1)
            by_j = by_j[:, :size_j].cumsum(axis=1)  # leaves at j when g_j >= first
            upto = by_j.cumsum(axis=0)
            gain[row] = upto[-1] - upto[:-1]  # passes i when g_i < first
        return gain

    def _later(
        self, choice: Sequence[int], start: int, rows: IntArray | slice = slice(None)
    ) -> tuple[FloatArray, FloatArray]:
        """Right (0 or the weight) and cost of images that reach exit `start`, [rows] each."""
        exits = np.full(self._right.shape[1], len(choice), dtype=np.uint8)
        for exit_ in reversed(range(start, len(choice))):
            if choice[exit_] >= 0:
                np.putmask(exits, self._first[exit_] <= choice[exit_], exit_)
        taken = exits[rows]
        images = np.arange(self._right.shape[1])[rows]
        return self._right.take(taken * self._width + images), self._costs.take(taken)
