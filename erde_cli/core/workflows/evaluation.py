"""What an evaluation found: accuracy, exits and cost of a bundle on a set of images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.arrays import IntArray
from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.drift import Drift
from erde_cli.core.device import Precision
from erde_cli.core.inference.answers import Answers
from erde_cli.core.inference.by_class import ByClass
from erde_cli.core.inference.entropy_gap import EntropyGap, entropy_gaps
from erde_cli.core.inference.observations import Adaptive
from erde_cli.core.models.profile import Profile
from erde_cli.core.storage.json_files import Json
from erde_cli.core.storage.pictures import Point
from erde_cli.core.thresholds.scores import Score
from erde_cli.core.thresholds.written import write_threshold


@dataclass(frozen=True)
class SweepRow:
    """One θ for all early exits, and the accuracy and cost under it."""

    threshold: float
    adaptive: Adaptive


@dataclass(frozen=True)
class Evaluation:
    """A bundle evaluated on a set of images; without thresholds, no image leaves early.

    right: whether each image is answered correctly, bool [images]. agreement: share of images
    answered as the last exit answers. labels: true ones, int64 [images]. precision: of inference.
    entropy_gaps: of a student whose teacher answered the same images.
    """

    bundle: Bundle
    split: str
    answers: Answers
    profile: Profile
    thresholds: list[float] | None
    certified: bool
    adaptive: Adaptive
    agreement: float
    right: NDArray[np.bool_]
    by_class: ByClass
    sweep: list[SweepRow]
    drift: Drift | None
    score: Score
    labels: IntArray
    precision: Precision
    entropy_gaps: list[EntropyGap] | None = None

    @property
    def full_accuracy(self) -> float:
        """Accuracy of the last exit."""
        return self.answers.accuracy[-1]

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        accuracies, macs = self.answers.accuracy, self.profile.cumulative_macs
        exits = zip(accuracies, self.adaptive.exit_rates, macs, strict=True)
        thetas, gaps = self.thresholds, self.entropy_gaps
        return {
            "split": self.split,
            "images": len(self.right),
            "accuracy": self.adaptive.accuracy,
            "balanced_accuracy": self.by_class.balanced_accuracy,
            "full_accuracy": self.full_accuracy,
            "agreement": self.agreement,
            "expected_macs": self.adaptive.expected_macs,
            "full_macs": self.profile.full_macs,
            "static_macs": self.profile.static_macs,
            "thresholds": None if thetas is None else [write_threshold(one) for one in thetas],
            "certified": self.certified,
            "drift": None if self.drift is None else asdict(self.drift),
            "exits": [
                {"exit": i, "accuracy": accuracy, "exit_rate": rate, "cumulative_macs": macs}
                for i, (accuracy, rate, macs) in enumerate(exits)
            ],
            "classes": self.by_class.rows(),
            "entropy_gaps": None if gaps is None else [gap.to_json() for gap in gaps],
        }

    def compared_with(self, teacher: Evaluation) -> Evaluation:
        """A copy with `entropy_gaps` between images the teacher's paired exits get wrong and right.

        Unchanged if the bundle was trained without a teacher, or if the teacher lacks a paired
        exit.
        """
        recipe = self.bundle.recipe
        exits = teacher.answers.correct.shape[1]
        if recipe.distillation.method == "cross_entropy" or max(recipe.pairing) >= exits:
            return self
        right = teacher.answers.correct[:, recipe.pairing]
        gaps = entropy_gaps(self.answers.entropies, self.answers.correct, right)
        return replace(self, entropy_gaps=gaps)


def point_of(teacher: Evaluation) -> Point:
    """A teacher without early exit, as a point of the trade-off."""
    return Point(teacher.profile.static_macs, teacher.full_accuracy)
