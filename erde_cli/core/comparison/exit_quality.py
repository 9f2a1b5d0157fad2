"""Quality of each exit on all images, and the cost of a target accuracy. Pure arrays.

Exits are judged on all images, not on those that reach them, which depend on the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import rankdata

from erde_cli.core.arrays import BoolArray, FloatArray
from erde_cli.core.inference.observations import Figures, Observations
from erde_cli.core.thresholds.written import write_threshold

POINTS = (0.0, 0.5, 1.0, 2.0)  # below the teacher's last exit
_ROUNDING = 1e-9


@dataclass(frozen=True)
class ExitQuality:
    """One exit (from 0) on all images.

    auroc_error: probability that an image the exit gets wrong has a higher entropy than one it
    gets right. auroc_repairable: the same for errors that the last exit repairs, against all other
    images. None if either group is empty. accuracy_certain: on the half with the lowest entropy.
    ece: 0 to 1. nll: nats.
    """

    exit: int
    accuracy: float
    auroc_error: float | None
    auroc_repairable: float | None
    accuracy_certain: float
    ece: float
    nll: float


@dataclass(frozen=True)
class Saving:
    """The cheapest thresholds that reach the accuracy of the teacher's last exit minus points.

    Chosen on calibration images. The figures are from test images, and None where the accuracy was
    not reached. macs_ratio = size_ratio (teacher static / student static) · exit_ratio (student
    static / expected).
    """

    points: float
    reached: bool
    thresholds: tuple[float, ...] | None = None
    accuracy: float | None = None
    expected_macs: float | None = None
    macs_ratio: float | None = None
    size_ratio: float | None = None
    exit_ratio: float | None = None

    def to_json(self) -> dict[str, object]:
        """The fields, thresholds in their written form."""
        thetas = self.thresholds
        written = None if thetas is None else [write_threshold(value) for value in thetas]
        return {**asdict(self), "thresholds": written}


def auroc(scores: FloatArray, positive: BoolArray) -> float | None:
    """Probability that a positive scores above a negative, ties counted half.

    Args:
        scores: float64 [images].
        positive: bool [images].

    Returns:
        A probability, or None if there are no positives or no negatives.

    Source: Mann and Whitney, "On a test of whether one of two random variables is stochastically
    larger than the other", Annals of Mathematical Statistics 18, 1947.
    """
    above = int(positive.sum())
    below = len(positive) - above
    if not above or not below:
        return None
    ranks = float(rankdata(scores)[positive].sum())
    return (ranks - above * (above + 1) / 2) / (above * below)


def exit_qualities(
    images: Observations, ece: Sequence[float], nll: Sequence[float]
) -> list[ExitQuality]:
    """Quality of every exit on all images.

    Args:
        images: scores and correctness of every exit.
        ece: expected calibration error of each exit, 0 to 1.
        nll: negative log-likelihood of each exit, nats.
    """
    last = images.correct[:, -1]
    qualities = []
    for exit_, (gap, loss) in enumerate(zip(ece, nll, strict=True)):
        scores, right = images.scores[:, exit_], images.correct[:, exit_]
        certain = np.argsort(scores, kind="stable")[: max(1, len(images) // 2)]
        qualities.append(
            ExitQuality(
                exit_,
                float(right.mean()),
                auroc(scores, ~right),
                auroc(scores, ~right & last),
                float(right[certain].mean()),
                float(gap),
                float(loss),
            )
        )
    return qualities


def savings(
    calibration: Observations,
    test: Observations,
    thresholds: Sequence[tuple[float, ...]],
    teacher_accuracy: float,
    static_macs: tuple[float, float],
) -> list[Saving]:
    """Cost of the accuracy of the teacher's last exit minus 0, 0.5, 1 and 2 points.

    Args:
        calibration: images that choose the cheapest thresholds.
        test: images that give the figures.
        thresholds: vectors in nats.
        teacher_accuracy: of the teacher's last exit on the calibration images.
        static_macs: of the teacher and of the student.
    """
    known = [(vector, calibration.figures(calibration.exits(vector))) for vector in thresholds]
    known.sort(key=lambda one: one[1].expected_macs)
    costs = []
    for points in POINTS:
        least = teacher_accuracy - points / 100 - _ROUNDING
        vector = next((v for v, figures in known if (figures.accuracy or 0) >= least), None)
        if vector is None:
            costs.append(Saving(points, reached=False))
        else:
            figures = test.figures(test.exits(vector))
            costs.append(_saving(points, vector, figures, *static_macs))
    return costs


def _saving(
    points: float, vector: tuple[float, ...], figures: Figures, teacher: float, student: float
) -> Saving:
    size, early = teacher / student, student / figures.expected_macs
    return Saving(
        points, True, vector, figures.accuracy, figures.expected_macs, size * early, size, early
    )
