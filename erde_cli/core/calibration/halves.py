"""The two fixed random halves of the calibration images.

Half A is for tuning, temperatures and candidates. Half B chooses nothing: it is read by the tests
that a promise rests on, and for figures.
"""

from __future__ import annotations

import numpy as np

from erde_cli.core.arrays import IntArray
from erde_cli.core.randomness import permutation


def halves(count: int, fingerprint: str) -> tuple[IntArray, IntArray]:
    """Numbers of the images of half A and half B; B has the odd one, in a random order.

    A pure function of the number of images and the fingerprint of the split, so that neither the
    halves nor the order within B can be chosen.
    """
    order = permutation(count, 0, f"calibration/halves/{fingerprint}")
    return order[: count // 2], order[count // 2 :]


def tuning_half(count: int, fingerprint: str) -> IntArray:
    """Numbers of the images of half A, in ascending order; of all images where A has none."""
    half_a, half_b = halves(count, fingerprint)
    return np.sort(half_a if len(half_a) else half_b)
