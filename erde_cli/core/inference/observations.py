"""What every exit said of a set of images, and what thresholds make of it: pure arrays."""

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

_EXACT = 2**52  # whole numbers up to twice that are exact in float64
Z_95 = 1.959963984540054  # 97.5 % quantile of the standard normal


@dataclass(frozen=True)
class Figures:
    """What thresholds give on a set of images.

    accuracy, full_accuracy: adaptive, and of the last exit; None without labels.
    balanced_accuracy, full_balanced_accuracy: the same as means over the classes; None unless
    thresholds are chosen by it. agreement: share of images answered as the last exit answers.
    exit_rates: [exits]. expected_macs: MACs per image. expected_latency: ms per image; None where
    no exit was timed.
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
        """What thresholds are chosen by; None without labels."""
        return self.accuracy if self.balanced_accuracy is None else self.balanced_accuracy

    @property
    def full_by_metric(self) -> float | None:
        """The same of the last exit, for every image."""
        return self.full_accuracy if self.balanced_accuracy is None else self.full_balanced_accuracy

    def bound(self, risk: Risk) -> float | None:
        """None: a bound comes from a test alone."""
        return None


@dataclass(frozen=True)
class Observations:
    """What every exit said of the calibration images, and what it costs.

    scores: smaller is surer, float64 [images, exits]; the last column is not used.
    correct: bool [images, exits]; of unlabelled images, whether an exit agrees with the last one.
    cumulative_macs: [exits]. agrees: bool [images, exits]. latencies: ms of leaving, [exits].
    classes: true class of each image, int64 [images], where thresholds are chosen by balanced
    accuracy; None where by accuracy.
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
        """The same for some of the images: bool [images], or their numbers."""
        agrees = None if self.agrees is None else self.agrees[images]
        classes = None if self.classes is None else self.classes[images]
        return Observations(
            self.scores[images], self.correct[images], self.cumulative_macs, agrees,
            self.latencies, self.labelled, classes,
        )  # fmt: skip

    def exits(self, thresholds: Sequence[float]) -> IntArray:
        """Exit of each image under thresholds in the score's unit, int64 [images]."""
        exits: IntArray = first_exit(torch.from_numpy(self.scores), thresholds).numpy()
        return exits

    def under(self, thresholds: Sequence[float]) -> Adaptive:
        """Accuracy, exit rates and expected MACs under thresholds."""
        return adaptive(self.exits(thresholds), self.correct, self.cumulative_macs)

    def figures(self, exits: IntArray) -> Figures:
        """What it gives when image n leaves at exit `exits[n]`."""
        every = np.arange(len(self))
        rates = exit_rates(exits, len(self.cumulative_macs))
        right = self.correct[every, exits]
        balanced = self.classes is not None
        agreement = None if self.agrees is None else float(self.agrees[every, exits].mean())
        return Figures(
            accuracy=float(right.mean()) if self.labelled else None,
            full_accuracy=self.full_accuracy if self.labelled else None,
            balanced_accuracy=self._share(right) if balanced else None,
            full_balanced_accuracy=self.full_by_metric if balanced else None,
            agreement=agreement,
            exit_rates=rates,
            expected_macs=float(np.dot(rates, self.cumulative_macs)),
            expected_latency=(
                None if self.latencies is None else float(np.dot(rates, self.latencies))
            ),
        )

    @property
    def full_accuracy(self) -> float:
        """Accuracy of the last exit."""
        return float(self.correct[:, -1].mean())

    @cached_property
    def weights(self) -> FloatArray:
        """What a right answer counts by the metric, whole numbers [images].

        They belong to these very images: a part of them has weights of its own.
        """
        return np.ones(len(self)) if self.classes is None else balancing(self.classes)

    @property
    def full_by_metric(self) -> float:
        """Accuracy of the last exit, or its balanced accuracy where that is the metric."""
        return self._share(self.correct[:, -1])

    @property
    def exit_balanced_accuracy(self) -> tuple[float, ...] | None:
        """Balanced accuracy of every exit on all images; None where it is not the metric."""
        return None if self.classes is None else tuple(map(self._share, self.correct.T))

    @property
    def exit_accuracy(self) -> tuple[float, ...] | None:
        """Accuracy of every exit on all images; None without labels."""
        if not self.labelled:
            return None
        return tuple(float(share) for share in self.correct.mean(axis=0))

    def _share(self, right: BoolArray) -> float:
        """Share of right answers, bool [images], each by its weight."""
        return float(self.weights @ right / self.weights.sum())


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
