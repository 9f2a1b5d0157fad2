"""Search of per-exit thresholds on a grid of observed scores: pure arrays.

Up to 64 candidates per exit, midway between neighbouring scores. Exact on that grid for up to 3
exits; beyond that two exits at a time, the others held, from several starts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from erde_cli.core.exits import first_exit
from erde_cli.core.metrics import Adaptive, adaptive
from erde_cli.core.targets import Target

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_LEVELS = 64  # candidate thresholds per exit; a finer grid fits the noise of the split
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Observations:
    """What every exit said of the calibration images, and what it costs.

    scores: entropy in nats, float64 [images, exits]; the last column is not used.
    correct: bool [images, exits]. cumulative_macs: [exits].
    """

    scores: FloatArray
    correct: BoolArray
    cumulative_macs: FloatArray

    def __len__(self) -> int:
        return len(self.correct)

    def only(self, images: BoolArray) -> Observations:
        """The same for some of the images, bool [images]."""
        return Observations(self.scores[images], self.correct[images], self.cumulative_macs)

    def exits(self, thresholds: Sequence[float]) -> IntArray:
        """Exit of each image under thresholds (nats), int64 [images]."""
        exits: IntArray = first_exit(torch.from_numpy(self.scores), thresholds).numpy()
        return exits

    def under(self, thresholds: Sequence[float]) -> Adaptive:
        """Accuracy, exit rates and expected MACs under thresholds."""
        return adaptive(self.exits(thresholds), self.correct, self.cumulative_macs)

    @property
    def full_accuracy(self) -> float:
        """Accuracy of the last exit."""
        return float(self.correct[:, -1].mean())


def candidates(scores: FloatArray) -> FloatArray:
    """Never (0), at most 64 midpoints of neighbouring scores at even quantiles, always (inf)."""
    values = np.unique(scores)
    inner = values[:-1] + np.diff(values) / 2
    if len(inner) > _LEVELS:
        levels = np.arange(1, _LEVELS + 1) / (_LEVELS + 1)
        cuts = np.quantile(scores, levels, method="lower")
        inner = inner[np.unique(np.searchsorted(values[:-2], cuts))]
    return np.concatenate([[0.0], inner[inner > 0], [math.inf]])


class Search:
    """Search of one threshold per early exit, over the candidates of each.

    Image n leaves at exit i under candidate g exactly when g >= first[i][n].
    """

    def __init__(self, observations: Observations, target: Target) -> None:
        early = len(observations.cumulative_macs) - 1
        self._grids = [candidates(observations.scores[:, i]) for i in range(early)]
        self._first = [
            np.searchsorted(grid, observations.scores[:, i], side="right")
            for i, grid in enumerate(self._grids)
        ]
        costs = np.broadcast_to(observations.cumulative_macs, observations.correct.shape)
        # value[n, i] of leaving at exit i: (right, MACs)
        self._values = np.stack([observations.correct.astype(np.float64), costs], axis=-1)
        self._values /= len(observations)
        full = float(observations.cumulative_macs[-1])
        self._kind = target.kind
        if target.kind == "max_drop":
            self._bound = observations.full_accuracy - target.value / 100
        else:
            self._bound = target.value * full
        self._slack = _ROUNDING * (1 if target.kind == "max_drop" else full)

    def best(self) -> tuple[tuple[float, ...], bool]:
        """Search from several starts; (thresholds, whether the target is met)."""
        found = [self._descend(start) for start in self._starts()]
        best = min(found, key=lambda choice: (*self._key(self.evaluate(choice)), *choice))
        thresholds = tuple(
            float(grid[index]) for grid, index in zip(self._grids, best, strict=True)
        )
        return thresholds, self.meets(self.evaluate(best))

    def evaluate(self, choice: Sequence[int]) -> FloatArray:
        """(accuracy, expected MACs) of one candidate per exit."""
        value: FloatArray = self._later(list(choice), 0).sum(axis=0)
        return value

    def meets(self, value: FloatArray) -> bool:
        """Whether (accuracy, expected MACs) meets the target."""
        return bool(self._excess(value) <= 0)

    def _excess(self, value: FloatArray) -> Any:
        accuracy, macs = value[..., 0], value[..., 1]
        short = self._bound - accuracy if self._kind == "max_drop" else macs - self._bound
        return np.maximum(short - self._slack, 0)

    def _key(self, value: FloatArray) -> tuple[float, float, float]:
        """Order of preference: least violation, then the aim, then the other figure."""
        accuracy, macs = float(value[0]), float(value[1])
        rounded = round(accuracy, 12)
        aims = (macs, -rounded) if self._kind == "max_drop" else (-rounded, macs)
        return float(self._excess(value)), *aims

    def _starts(self) -> list[tuple[int, ...]]:
        """Never and always; beyond two early exits, common quantiles as well."""
        sizes = [len(grid) for grid in self._grids]
        steps = 2 if len(sizes) <= 2 else 9
        shares = np.linspace(0, 1, steps)
        return [tuple(round(share * (size - 1)) for size in sizes) for share in shares]

    def _descend(self, start: tuple[int, ...]) -> tuple[int, ...]:
        """Choose two exits at a time, the others held, until nothing improves."""
        choice = start
        early = len(choice)
        pairs = list(combinations(range(early), 2)) or [(0, 0)]
        value = self._key(self.evaluate(choice))
        while True:
            before = value
            for pair in pairs:
                trial = self._best_of_pair(list(choice), *pair)
                key = self._key(self.evaluate(trial))
                if (key, trial) < (value, choice):
                    choice, value = trial, key
            if value >= before or len(pairs) == 1:
                return choice

    def _best_of_pair(self, choice: list[int], i: int, j: int) -> tuple[int, ...]:
        table = self._table(choice, i, j)
        excess = self._excess(table)
        accuracy, macs = np.round(table[..., 0], 12), table[..., 1]
        aims = (macs, -accuracy) if self._kind == "max_drop" else (-accuracy, macs)
        # Stable: among equals the first, that is, the most cautious thresholds.
        order = np.lexsort((aims[1].ravel(), aims[0].ravel(), excess.ravel()))
        best_i, best_j = np.unravel_index(order[0], excess.shape)
        choice[j], choice[i] = int(best_j), int(best_i)
        return tuple(choice)

    def _table(self, choice: list[int], i: int, j: int) -> FloatArray:
        """(accuracy, expected MACs) for all candidates of exits i < j, [g_i, g_j, 2].

        With i = j the table has one column. One pass over the images and cumulative sums, instead
        of one pass for each pair of candidates.
        """
        size_i = len(self._grids[i])
        size_j = len(self._grids[j]) if i != j else 1
        gone = np.zeros(len(self._values), dtype=bool)
        fixed = np.zeros(2)
        for exit_ in range(i):
            leaves = ~gone & (choice[exit_] >= self._first[exit_])
            fixed += self._values[leaves, exit_].sum(axis=0)
            gone |= leaves
        here = ~gone
        stays = self._later(choice, i + 1) if i == j else self._between(choice, i, j)
        table = np.zeros((size_i, size_j, 2))
        leaving = _sums(self._first[i][here], self._values[here, i], size_i).cumsum(axis=0)
        going_on = _sums(self._first[i][here], stays[here], size_i)
        waiting = going_on.sum(axis=0) - going_on.cumsum(axis=0)
        table += (fixed + leaving + waiting)[:, None]
        if i != j:
            table += self._gain_of_second(choice, i, j, here)
        return table

    def _gain_of_second(self, choice: list[int], i: int, j: int, here: BoolArray) -> FloatArray:
        """What exit j changes for the images that pass i and reach it, [g_i, g_j, 2]."""
        reaches = here.copy()
        for exit_ in range(i + 1, j):
            reaches &= choice[exit_] < self._first[exit_]
        change = self._values[:, j] - self._later(choice, j + 1)
        size_i, size_j = len(self._grids[i]), len(self._grids[j])
        cell = self._first[i][reaches] * (size_j + 1) + self._first[j][reaches]
        sums = _sums(cell, change[reaches], (size_i + 1) * (size_j + 1))
        sums = sums.reshape(size_i + 1, size_j + 1, 2)[:size_i, :size_j]
        by_j = sums.cumsum(axis=1)  # leaves at j when g_j >= first
        gain: FloatArray = by_j.sum(axis=0) - by_j.cumsum(axis=0)  # passes i when g_i < first
        return gain

    def _between(self, choice: list[int], i: int, j: int) -> FloatArray:
        """Value of each image that passes i, as if none left at j, [images, 2]."""
        held = list(choice)
        held[j] = -1
        return self._later(held, i + 1)

    def _later(self, choice: Sequence[int], start: int) -> FloatArray:
        """Value of each image that reaches exit `start`, [images, 2]."""
        value = self._values[:, -1].copy()
        for exit_ in reversed(range(start, len(choice))):
            leaves = choice[exit_] >= self._first[exit_]
            value[leaves] = self._values[leaves, exit_]
        return value


def _sums(groups: IntArray, values: FloatArray, size: int) -> FloatArray:
    """Sum of values [n, 2] by group number [n], [size, 2]."""
    sums = np.zeros((size, 2))
    for column in (0, 1):
        sums[:, column] = np.bincount(groups, values[:, column], minlength=size)[:size]
    return sums
