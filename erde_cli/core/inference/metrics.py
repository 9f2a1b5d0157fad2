"""What is said of a set of answers: accuracy, exit rates, expected MACs, paired differences."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_EXACT = 2**52  # whole numbers up to twice that are exact in float64
_Z_95 = 1.959963984540054  # 97.5 % quantile of the standard normal


@dataclass(frozen=True)
class Adaptive:
    """An early-exit network on a set of images: accuracy, exit rates [exits], expected MACs."""

    accuracy: float
    exit_rates: tuple[float, ...]
    expected_macs: float


def exit_rates(exits: IntArray, exit_count: int) -> tuple[float, ...]:
    """Share of images that leave at each exit; sums to 1."""
    counts = np.bincount(exits, minlength=exit_count)
    return tuple(float(share) for share in counts / len(exits))


def adaptive(exits: IntArray, correct: BoolArray, cumulative_macs: FloatArray) -> Adaptive:
    """Accuracy and cost when image n leaves at exit `exits[n]`.

    Args:
        exits: exit of each image, int64 [images].
        correct: whether each exit is right on each image, bool [images, exits].
        cumulative_macs: cost of leaving at each exit, [exits].
    """
    return adaptive_of(exits, correct[np.arange(len(exits)), exits], cumulative_macs)


def adaptive_of(exits: IntArray, right: BoolArray, cumulative_macs: FloatArray) -> Adaptive:
    """The same from whether the exit that image n left at was right, bool [images]."""
    rates = exit_rates(exits, len(cumulative_macs))
    return Adaptive(float(right.mean()), rates, float(np.dot(rates, cumulative_macs)))


def balancing(classes: IntArray) -> FloatArray:
    """Weight of each image, [images], by which a share of images becomes a mean over the classes.

    Classes without images do not count. The weights are whole numbers, so that sums of them are
    exact and equal choices compare as equal: inverse to the number of images of the class, and
    where that takes too many digits, the nearest ones (off by less than images / 2^52 in all).

    Args:
        classes: true class of each image, int64 [images].
    """
    _, places, counts = np.unique(classes, return_inverse=True, return_counts=True)
    scale = min(math.lcm(*counts.tolist()), _EXACT // len(counts))
    weights: FloatArray = np.rint(scale / counts)[places]
    return weights


def paired_drop_interval(reference: BoolArray, other: BoolArray) -> tuple[float, float]:
    """95 % interval, in points, of the accuracy of `reference` minus that of `other`.

    Both answered the same images, bool [images]. One image is added to each kind of disagreement,
    which keeps the coverage where few images differ.

    Source: Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data", J. Educational and Behavioral Statistics 37, 2012.
    """
    count = len(reference) + 2
    lost = (float(np.sum(reference & ~other)) + 1) / count
    gained = (float(np.sum(other & ~reference)) + 1) / count
    difference = lost - gained
    error = np.sqrt((lost + gained - difference**2) / count)
    low, high = difference - _Z_95 * error, difference + _Z_95 * error
    return 100 * float(max(low, -1)), 100 * float(min(high, 1))
