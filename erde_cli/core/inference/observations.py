"""Scores and answers of every exit on a set of images, and the figures that thresholds give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from erde_cli.core.arrays import BoolArray, FloatArray, IntArray
from erde_cli.core.inference.routing import first_exit
from erde_cli.core.thresholds.target import Risk

_EXACT = 2**52  # float64 is exact for whole numbers up to twice this
Z_95 = 1.959963984540054  # 97.5 % quantile of the standard normal


@dataclass(frozen=True)
class Figures:
    """Figures of thresholds on a set of images.

    accuracy, full_accuracy: with early exit, and of the last exit; None without labels.
    balanced_accuracy, full_balanced_accuracy: the same as means over the classes; None unless
    thresholds are chosen by it. agreement: share of images with the same answer as the last exit.
    exit_rates: [exits]. expected_macs: MACs per image. expected_latency: ms per image; None if the
    exits were not timed.
    """

    accuracy: float | None
    full_accuracy: float | None
    balanced_accuracy: float | None
    full_balanced_accuracy: float | None
    agreement: float | None
    exit_rates: tuple[float, ...]
    expected_macs: float
    expected_latency: float | None

    @property
    def by_metric(self) -> float | None:
        """Accuracy or balanced accuracy, as thresholds are chosen by; None without labels."""
        return self.accuracy if self.balanced_accuracy is None else self.balanced_accuracy

    @property
    def full_by_metric(self) -> float | None:
        """The same metric of the last exit."""
        return self.full_accuracy if self.balanced_accuracy is None else self.full_balanced_accuracy

    def bound(self, risk: Risk) -> float | None:
        """None, because only a test gives a bound."""
        return None


@dataclass(frozen=True)
class Observations:
    """Scores and answers of every exit on a set of images, and the cost of each exit.

    scores: smaller is more certain, float64 [images, exits]; the last column is not used.
    correct: bool [images, exits]; without labels, whether an exit agrees with the last one.
    cumulative_macs: float64 [exits]. agrees: with the last exit, bool [images, exits].
    latencies: of an image that leaves at each exit, in ms, float64 [exits].
    classes: true class of each image, int64 [images], if thresholds are chosen by balanced
    accuracy; else None.
    """

    scores: FloatArray
    correct: BoolArray
    cumulative_macs: FloatArray
    agrees: BoolArray | None = None
    latencies: FloatArray | None = None
    labelled: bool = True
    classes: IntArray | None = None

    def __len__(self) -> int:
        return len(self.correct)

    def only(self, images: BoolArray | IntArray) -> Observations:
        """Observations of some images, given as a mask bool [images] or as numbers int64 [k]."""
        agrees = None if self.agrees is None else self.agrees[images]
        classes = None if self.classes is None else self.classes[images]
        return Observations(
            self.scores[images], self.correct[images], self.cumulative_macs, agrees,
            self.latencies, self.labelled, classes,
        )  # fmt: skip

    def exits(self, thresholds: Sequence[float]) -> IntArray:
        """Exit of each image under thresholds in the score's unit, int64 [images].

        Raises:
            ValueError: there is not one threshold per early exit.
        """
        exits: IntArray = first_exit(torch.from_numpy(self.scores), thresholds).numpy()
        return exits

    def under(self, thresholds: Sequence[float]) -> Adaptive:
        """Accuracy, exit rates and expected MACs under thresholds in the score's unit."""
        exits = self.exits(thresholds)
        return adaptive_of(exits, self.correct[np.arange(len(self)), exits], self.cumulative_macs)

    def figures(self, exits: IntArray) -> Figures:
        """Figures if image n leaves at exit `exits[n]`, int64 [images]."""
        every = np.arange(len(self))
        rates = exit_rates(exits, len(self.cumulative_macs))
        right = self.correct[every, exits]
        balanced = self.classes is not None
        agreement = None if self.agrees is None else float(self.agrees[every, exits].mean())
        latency = None if self.latencies is None else float(np.dot(rates, self.latencies))
        return Figures(
            accuracy=float(right.mean()) if self.labelled else None,
            full_accuracy=self.full_accuracy if self.labelled else None,
            balanced_accuracy=self._share(right) if balanced else None,
            full_balanced_accuracy=self.full_by_metric if balanced else None,
            agreement=agreement,
            exit_rates=rates,
            expected_macs=float(np.dot(rates, self.cumulative_macs)),
            expected_latency=latency,
        )

    @property
    def full_accuracy(self) -> float:
        """Accuracy of the last exit."""
        return float(self.correct[:, -1].mean())

    @cached_property
    def weights(self) -> FloatArray:
        """Weight of each image in the metric, whole numbers, float64 [images].

        A subset of the images has other weights.
        """
        return np.ones(len(self)) if self.classes is None else balancing(self.classes)

    @property
    def full_by_metric(self) -> float:
        """Accuracy of the last exit, or its balanced accuracy if that is the metric."""
        return self._share(self.correct[:, -1])

    @property
    def exit_balanced_accuracy(self) -> tuple[float, ...] | None:
        """Balanced accuracy of every exit, [exits]; None if it is not the metric."""
        return None if self.classes is None else tuple(map(self._share, self.correct.T))

    @property
    def exit_accuracy(self) -> tuple[float, ...] | None:
        """Accuracy of every exit, [exits]; None without labels."""
        return tuple(map(float, self.correct.mean(axis=0))) if self.labelled else None

    def _share(self, right: BoolArray) -> float:
        """Weighted share of right answers, bool [images]."""
        return float(self.weights @ right / self.weights.sum())


@dataclass(frozen=True)
class Adaptive:
    """Accuracy, exit rates [exits] and expected MACs of early exit on a set of images."""

    accuracy: float
    exit_rates: tuple[float, ...]
    expected_macs: float


def exit_rates(exits: IntArray, exit_count: int) -> tuple[float, ...]:
    """Share of images that leave at each exit; sums to 1."""
    counts = np.bincount(exits, minlength=exit_count)
    return tuple(float(share) for share in counts / len(exits))


def adaptive_of(exits: IntArray, right: BoolArray, cumulative_macs: FloatArray) -> Adaptive:
    """Accuracy and cost if image n leaves at exit `exits[n]`.

    Args:
        exits: exit of each image, int64 [images].
        right: whether that exit's answer is right, bool [images].
        cumulative_macs: MACs of an image that leaves at each exit, float64 [exits].
    """
    rates = exit_rates(exits, len(cumulative_macs))
    return Adaptive(float(right.mean()), rates, float(np.dot(rates, cumulative_macs)))


def balancing(classes: IntArray) -> FloatArray:
    """Weights, float64 [images], that turn a share of images into a mean over the classes.

    Classes without images do not count. Each weight is inverse to the number of images of its
    class. Weights are whole numbers, so that their sums are exact and equal choices compare as
    equal. If that takes too many digits, they are rounded (error below images / 2^52 in all).

    Args:
        classes: true class of each image, int64 [images].
    """
    _, places, counts = np.unique(classes, return_inverse=True, return_counts=True)
    scale = min(math.lcm(*counts.tolist()), _EXACT // len(counts))
    weights: FloatArray = np.rint(scale / counts)[places]
    return weights
