"""Whether images leave elsewhere than they did on the calibration images: pure counts.

A warning needs two things: a difference that chance does not explain, and one large enough to
matter. With many images alone the first would warn of nothing, with few the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

_LEVEL = 0.01  # p-value below which chance is no explanation
_LEAST_SHIFT = 0.02  # total variation above which the shift matters
_LEAST_EXPECTED = 5  # images per cell from which the chi-squared distribution can be trusted
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Drift:
    """Exit rates then and now, [exits] each, and how they differ.

    p_value: of the two-sample chi-squared test. total_variation: half the sum of the differences
    of the rates, 0 to 1. exit: the one whose rate moved the most, the deeper of equals; 0-based.
    """

    p_value: float
    total_variation: float
    drifted: bool
    exit: int
    expected_rates: tuple[float, ...]
    live_rates: tuple[float, ...]

    def in_words(self) -> str:
        """One sentence that names the shift, with both shares."""
        exits = len(self.live_rates)
        last = self.exit == exits - 1
        what = "reach the last exit" if last else f"leave at exit {self.exit + 1} of {exits}"
        now, then = 100 * self.live_rates[self.exit], 100 * self.expected_rates[self.exit]
        return f"{now:.1f} % of the images {what}, {then:.1f} % did on the calibration images."


def drift(expected_counts: Sequence[int], live_counts: Sequence[int]) -> Drift:
    """Compare how many images left at each exit, [exits], on the calibration images and live.

    Exits at which fewer than 5 images are to be expected in either sample are pooled with the next
    ones, and with the ones before at the end. Where fewer than two cells remain, p = 1.

    Raises:
        ValueError: the numbers of exits differ, or a sample has no images.
    """
    table = np.array([expected_counts, live_counts], dtype=np.float64)
    totals = table.sum(axis=1, keepdims=True)
    if not totals.all():
        raise ValueError("both samples must have images")
    rates = table / totals
    moved = rates[1] - rates[0]
    pooled = _pooled(table)
    p_value = 1.0
    if pooled.shape[1] >= 2:
        p_value = float(chi2_contingency(pooled, correction=False).pvalue)
    variation = float(np.abs(moved).sum() / 2)
    most = np.flatnonzero(np.abs(moved) >= np.abs(moved).max() - _ROUNDING)[-1]
    return Drift(
        p_value,
        variation,
        p_value < _LEVEL and variation > _LEAST_SHIFT,
        int(most),
        tuple(rates[0].tolist()),
        tuple(rates[1].tolist()),
    )


def _pooled(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns of counts [2, exits] joined with their neighbours until each expects 5 or more."""
    # Only the column totals decide, and the test is conditional on them: it stays valid.
    share_of_smaller = table.sum(axis=1).min() / table.sum()
    cells: list[NDArray[np.float64]] = []
    waiting = np.zeros(2)
    for column in table.T:
        waiting = waiting + column
        if waiting.sum() * share_of_smaller >= _LEAST_EXPECTED:
            cells.append(waiting)
            waiting = np.zeros(2)
    if cells:
        cells[-1] = cells[-1] + waiting
    return np.stack(cells, axis=1) if cells else np.zeros((2, 0))
