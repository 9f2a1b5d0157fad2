"""Whether an exported network answers as the network it came from: same exits, same labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from erde_cli.core.errors import ErdeError
from erde_cli.core.export.record import ExportedAnswers, ExportRecord
from erde_cli.core.inference.answers import Answers
from erde_cli.core.inference.routing import first_exit
from erde_cli.core.thresholds.written import WrittenThreshold, write_threshold

NEAR = 1e-5  # of a score: closer to a threshold, rounding may decide
TOLERANCE = 1e-4  # of probabilities; rounding alone came to 1e-6


class Exported(Protocol):
    """Anything that was exported and can be run."""

    @property
    def record(self) -> ExportRecord:
        """What it says of itself."""

    def answer(
        self, pixels: NDArray[np.uint8], thresholds: Sequence[float] | None = None
    ) -> ExportedAnswers:
        """Let uint8 images [images, height, width, 3] leave at their exits."""


@dataclass(frozen=True)
class Check:
    """One comparison under one set of thresholds, in the score's unit.

    exits: images that left at each exit, [exits]. near: images that were not compared, since a
    score on their way lies too close to its threshold. largest_difference: of probabilities.
    """

    thresholds: tuple[float, ...]
    images: int
    exits: tuple[int, ...]
    near: int
    largest_difference: float

    def to_json(self) -> dict[str, list[WrittenThreshold] | list[int] | int | float]:
        """Form in JSON."""
        return {
            "thresholds": [write_threshold(value) for value in self.thresholds],
            "exits": list(self.exits),
            "near_threshold": self.near,
            "largest_difference": self.largest_difference,
        }


def verify(
    exported: Exported,
    pixels: NDArray[np.uint8],
    expected: Answers,
    calibrated: Sequence[float],
    temperatures: Sequence[float] | None,
) -> list[Check]:
    """Compare at the calibrated thresholds, as the export holds them, and at every exit.

    Args:
        exported: what was exported.
        pixels: uint8 [images, height, width, 3].
        expected: what the network itself says of them, logits included.
        calibrated: thresholds that the export must have as its own.
        temperatures: of every exit.

    Raises:
        ErdeError: an image leaves elsewhere, has another label, or other probabilities.
    """
    early = len(calibrated)
    checks = [_compare(exported, pixels, expected, calibrated, temperatures, default=True)]
    for exit_ in range(early + 1):
        thresholds = [0.0] * exit_ + [math.inf] * (early - exit_)
        checks.append(_compare(exported, pixels, expected, thresholds, temperatures))
    return checks


def _compare(
    exported: Exported,
    pixels: NDArray[np.uint8],
    expected: Answers,
    thresholds: Sequence[float],
    temperatures: Sequence[float] | None,
    *,
    default: bool = False,
) -> Check:
    found = exported.answer(pixels, None if default else thresholds)
    exits = first_exit(torch.from_numpy(expected.scores), thresholds).numpy()
    rows = np.arange(len(exits))
    near = near_threshold(expected.scores, thresholds, exits)
    labels = expected.predictions[rows, exits]
    elsewhere = (found.exits != exits) & ~near
    other = (found.labels != labels) & ~near & ~elsewhere
    differences = np.abs(found.probabilities - _probabilities(expected, exits, temperatures))
    compared = differences[~near & ~elsewhere]
    largest = float(compared.max(initial=0.0))
    # A NaN is above nothing; asked in this way, it is refused as well.
    if elsewhere.any() or other.any() or not largest <= TOLERANCE:
        raise ErdeError(
            "The exported network does not answer as the bundle does, so it was not kept.",
            got=f"at thresholds {[write_threshold(value) for value in thresholds]}, of {len(rows)} "
            f"images {int(elsewhere.sum())} leave at another exit, {int(other.sum())} have another "
            f"label; probabilities differ by up to {largest:.2g}",
            expected=f"the same exits and labels, probabilities within {TOLERANCE:g}",
        )
    counts = np.bincount(exits, minlength=expected.scores.shape[1])
    return Check(tuple(thresholds), len(rows), tuple(counts.tolist()), int(near.sum()), largest)


def near_threshold(
    scores: NDArray[np.float64], thresholds: Sequence[float], exits: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which images come too close to a threshold on their way to the exit they take, [images].

    Never (0) and always (inf) are decided without any rounding.
    """
    limits = np.array(thresholds)
    close = np.abs(scores[:, :-1] - limits) <= NEAR
    close &= (limits > 0) & np.isfinite(limits)
    close &= np.arange(len(limits)) <= exits[:, None]
    found: NDArray[np.bool_] = close.any(axis=1)
    return found


def _probabilities(
    expected: Answers, exits: NDArray[np.int64], temperatures: Sequence[float] | None
) -> NDArray[np.float32]:
    """Softmax of the exit taken, at its temperature, as predictions report it."""
    if expected.logits is None:
        raise ValueError("answers without logits")
    logits = torch.from_numpy(expected.logits[np.arange(len(exits)), exits])
    if temperatures is not None:
        logits = logits / torch.tensor(temperatures)[torch.from_numpy(exits)][:, None]
    found: NDArray[np.float32] = logits.softmax(dim=-1).numpy()
    return found
