"""How good each exit is on all images, and what a target accuracy costs: pure arrays.

On all images, never on those that reached an exit: which ones do depends on the method.
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

    auroc_error: probability that the entropy of an image this exit gets wrong is above that of one
    it gets right. auroc_repairable: the same of errors that the last exit repairs, against all
    other images. None where there are none of either. accuracy_certain: of the half with the
    lowest entropy. ece: 0 to 1. nll: nats.
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
    """The cheapest thresholds that reach the teacher's last exit minus some points.

    Chosen and met on calibration images; the figures are of test images, and all None where it was
    not reached. macs_ratio = size_ratio (both static) · exit_ratio (student static / expected).
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
        shown = None if thetas is None else [write_threshold(value) for value in thetas]
        return {**asdict(self), "thresholds": shown}


def auroc(scores: FloatArray, positive: BoolArray) -> float | None:
    """Probability that a positive scores above a negative, ties half; None without either.

    Args:
        scores: [images].
        positive: bool [images].

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
    seen: Observations, ece: Sequence[float], nll: Sequence[float]
) -> list[ExitQuality]:
    """Quality of every exit on all images; `ece` and `nll` of each exit come with its logits."""
    last = seen.correct[:, -1]
    found = []
    for exit_, (gap, loss) in enumerate(zip(ece, nll, strict=True)):
        scores, right = seen.scores[:, exit_], seen.correct[:, exit_]
        certain = np.argsort(scores, kind="stable")[: max(1, len(seen) // 2)]
        found.append(
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
    return found


def savings(
    calibration: Observations,
    test: Observations,
    thresholds: Sequence[tuple[float, ...]],
    teacher_accuracy: float,
    static_macs: tuple[float, float],
) -> list[Saving]:
    """What the teacher's last exit minus 0, 0.5, 1 and 2 points costs.

    Args:
        calibration: images on which the cheapest is chosen.
        test: images of which the figures are.
        thresholds: vectors in nats.
        teacher_accuracy: of its last exit, on the calibration images.
        static_macs: of the teacher and of the student.
    """
    known = [(vector, calibration.figures(calibration.exits(vector))) for vector in thresholds]
    known.sort(key=lambda one: one[1].expected_macs)
    found = []
    for points in POINTS:
        least = teacher_accuracy - points / 100 - _ROUNDING
        vector = next((v for v, figures in known if (figures.accuracy or 0) >= least), None)
        if vector is None:
            found.append(Saving(points, reached=False))
        else:
            figures = test.figures(test.exits(vector))
            found.append(_saving(points, vector, figures, *static_macs))
    return found


def _saving(
    points: float, vector: tuple[float, ...], figures: Figures, teacher: float, student: float
) -> Saving:
    size, early = teacher / student, student / figures.expected_macs
    return Saving(
        points, True, vector, figures.accuracy, figures.expected_macs, size * early, size, early
    )
