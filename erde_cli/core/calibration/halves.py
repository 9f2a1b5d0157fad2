"""Fixed random parts of the calibration images: two halves, and five folds.

The tuning half (half A) is for tuning, temperatures and candidates. The test half (half B) chooses
nothing: it tests the candidates of a guarantee, and gives figures.
"""

from __future__ import annotations

import numpy as np

from erde_cli.core.arrays import IntArray
from erde_cli.core.randomness import permutation

FOLDS = 5


def halves(count: int, fingerprint: str) -> tuple[IntArray, IntArray]:
    """Numbers of the images in the tuning half [count // 2] and the test half [the others], int64.

    The arguments alone decide: nobody can choose the halves, or the random order within them.
    """
    order = permutation(count, 0, f"calibration/halves/{fingerprint}")
    return order[: count // 2], order[count // 2 :]


def tuning_half(count: int, fingerprint: str) -> IntArray:
    """Ascending numbers of the images in the tuning half, int64; if it is empty, of all images."""
    half_a, half_b = halves(count, fingerprint)
    return np.sort(half_a if len(half_a) else half_b)


def fold_numbers(count: int) -> IntArray:
    """Fold of each image, 0 to 4, int64 [count]; the same for thresholds and temperatures."""
    return np.random.default_rng(0).permutation(count) % FOLDS
