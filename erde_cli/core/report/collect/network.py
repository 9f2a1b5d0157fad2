"""A bundle with its kept answers, from which a report is made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.document import ThresholdsDocument
from erde_cli.core.calibration.halves import tuning_half
from erde_cli.core.data.store import ImageStore
from erde_cli.core.inference.answers_file import SplitAnswers
from erde_cli.core.inference.observations import Observations
from erde_cli.core.randomness import permutation
from erde_cli.core.report.collect.typed import Typed

MOST_IMAGES = 20_000  # calibration images that a report embeds the scores of
_MOST_SCORES = 120_000  # of all exits together; more make the file too large


@dataclass(frozen=True)
class Network:
    """A bundle, its thresholds, and its answers to test and calibration images, where known.

    typed: the bundle as commands name it. store: the calibration images, in the order of the
    answers; None if they are gone.
    guarantees: whether the recipe's target is a guarantee.
    """

    bundle: Bundle
    thresholds: ThresholdsDocument | None
    typed: Typed
    test: SplitAnswers | None = None
    calibration: SplitAnswers | None = None
    store: ImageStore | None = None
    guarantees: bool = False

    @property
    def exits(self) -> int:
        """Number of exits."""
        return self.bundle.model.exit_count

    @property
    def costs(self) -> FloatArray:
        """MACs of an image that leaves at each exit, float64 [exits]."""
        return np.array(self.bundle.profile.cumulative_macs, dtype=np.float64)

    def observed(self, answers: SplitAnswers) -> Observations:
        """Answers in the form from which figures of thresholds are computed."""
        return Observations(answers.scores, answers.correct, self.costs)

    def left(self, answers: SplitAnswers) -> IntArray | None:
        """Exit that each image leaves at, int64 [images]; None without thresholds."""
        if self.thresholds is None:
            return None
        return self.observed(answers).exits(self.thresholds.values)

    @property
    def tuning_half_alone(self) -> bool:
        """Whether the test half must not be shown.

        Whoever saw it could choose the level of a guarantee by it.
        """
        return self.guarantees or (
            self.thresholds is not None and self.thresholds.certificate is not None
        )

    @property
    def other_half(self) -> str:
        """A sentence, if the sliders show other images than the figures of `thresholds.json`."""
        document = self.thresholds
        hidden = self.tuning_half_alone and self.exits > 1 and self.calibration is not None
        if not hidden or document is None or document.source != "calibration split":
            return ""
        whole = "all calibration images" if document.certificate is None else "the test half"
        return (
            f"thresholds.json has the figures of {whole}; the sliders show those of the tuning "
            "half."
        )

    @cached_property
    def choosing(self) -> IntArray:
        """Ascending positions of the calibration images that may choose thresholds, int64."""
        count = 0 if self.calibration is None else len(self.calibration)
        if count and self.tuning_half_alone:
            return tuning_half(count, self.bundle.document.split_fingerprint)
        return np.arange(count)

    @property
    def most(self) -> int:
        """Number of images whose scores fit into a report: 20,000, fewer from 7 exits on."""
        return min(MOST_IMAGES, max(1, _MOST_SCORES // self.exits))

    @cached_property
    def shown(self) -> IntArray:
        """Those of them that the report shows: all, or a fixed part."""
        count = len(self.choosing)
        if count <= self.most:
            return self.choosing
        return np.sort(self.choosing[permutation(count, 0, "report/shown")[: self.most]])


def exit_name(exit_: int, exits: int) -> str:
    """An exit as people count: "exit 1 of 3"."""
    return f"exit {exit_ + 1} of {exits}"
