"""Compare exit rates with those of the calibration images, from counts alone.

A warning needs a difference that is significant and large enough to matter. Significance alone
would warn of tiny shifts of many images; size alone, of noise in few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2_contingency

from erde_cli.core.arrays import FloatArray
from erde_cli.core.figures import percent

_LEVEL = 0.01  # p-value below which a shift is significant
_LEAST_SHIFT = 0.02  # total variation above which the shift matters
_LEAST_EXPECTED = 5  # images per cell that the chi-squared distribution needs
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Drift:
    """Exit rates on the calibration images and live, [exits] each, and how they differ.

    p_value: of the two-sample chi-squared test. total_variation: half the sum of the absolute
    differences of the rates, 0 to 1. exit: the exit whose rate changed most, the deeper of equals,
    0-based.
    """

    p_value: float
    total_variation: float
    drifted: bool
    exit: int
    expected_rates: tuple[float, ...]
    live_rates: tuple[float, ...]

    def in_words(self) -> str:
        """One sentence about the exit that changed most, with both rates."""
        exits = len(self.live_rates)
        last = self.exit == exits - 1
        what = "reach the last exit" if last else f"leave at exit {self.exit + 1} of {exits}"
        now = percent(self.live_rates[self.exit], 1)
        then = percent(self.expected_rates[self.exit], 1)
        return f"{now} % of the images {what}; {then} % of the calibration images did."


def drift(expected_counts: Sequence[int], live_counts: Sequence[int]) -> Drift:
    """Compare the counts of images at each exit, [exits]: calibration images and live ones.

    Exits are pooled with the next ones until each cell expects 5 images in either sample; the last
    ones are pooled with the cell before. If fewer than two cells remain, p = 1.

    Raises:
        ValueError: the numbers of exits differ, or a sample is empty.
    """
    table = np.array([expected_counts, live_counts], dtype=np.float64)
    totals = table.sum(axis=1, keepdims=True)
    if not totals.all():
        raise ValueError("both samples must have images")
    rates = table / totals
    changes = np.abs(rates[1] - rates[0])
    pooled = _pooled(table)
    p_value = 1.0
    if pooled.shape[1] >= 2:
        p_value = float(chi2_contingency(pooled, correction=False).pvalue)
    variation = float(changes.sum() / 2)
    most = np.flatnonzero(changes >= changes.max() - _ROUNDING)[-1]
    return Drift(
        p_value,
        variation,
        p_value < _LEVEL and variation > _LEAST_SHIFT,
        int(most),
        tuple(rates[0].tolist()),
        tuple(rates[1].tolist()),
    )


def _pooled(table: FloatArray) -> FloatArray:
    """Counts [2, exits] with neighbouring columns added until each column expects 5 or more."""
    # The test stays valid: it is conditional on the column totals, which alone decide here.
    share_of_smaller = table.sum(axis=1).min() / table.sum()
    cells: list[FloatArray] = []
    waiting = np.zeros(2)
    for column in table.T:
        waiting = waiting + column
        if waiting.sum() * share_of_smaller >= _LEAST_EXPECTED:
            cells.append(waiting)
            waiting = np.zeros(2)
    if cells:
        cells[-1] = cells[-1] + waiting
    return np.stack(cells, axis=1) if cells else np.zeros((2, 0))
