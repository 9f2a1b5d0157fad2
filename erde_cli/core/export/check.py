"""Check that an exported network gives the exits and labels of the network it came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from erde_cli.core.arrays import BoolArray, Float32Array, FloatArray, ImageArray, IntArray
from erde_cli.core.errors import ErdeError
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.inference.answers import Answers
from erde_cli.core.inference.routing import first_exit
from erde_cli.core.runner.answers import ExportedAnswers
from erde_cli.core.thresholds.written import WrittenThreshold, write_threshold

NEAR = 1e-5  # scores closer to a threshold than this can fall on either side by rounding
TOLERANCE = 1e-4  # of probabilities; rounding alone gave 1e-6


class Exported(Protocol):
    """An exported network that can be run."""

    @property
    def record(self) -> ExportRecord:
        """Its metadata."""

    def answer(
        self, pixels: ImageArray, thresholds: Sequence[float] | None = None
    ) -> ExportedAnswers:
        """Route uint8 images [images, height, width, 3]; None: under its own thresholds."""


@runtime_checkable
class LogitsExported(Exported, Protocol):
    """An exported network that returns logits."""

    def logits(self, pixels: ImageArray) -> Float32Array:
        """Logits of uint8 images [images, height, width, 3]."""


@dataclass(frozen=True)
class Check:
    """One comparison under one set of thresholds, in the score's unit.

    exits: number of images that left at each exit, [exits]. near: number of images that were not
    compared, because a score is too close to its threshold. largest_difference: of probabilities.
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
    pixels: ImageArray,
    expected: Answers,
    calibrated: Sequence[float],
    temperatures: Sequence[float] | None,
) -> list[Check]:
    """Compare under the export's own thresholds, and with all images leaving at each exit.

    Args:
        exported: the exported network.
        pixels: uint8 [images, height, width, 3].
        expected: answers of the original network to the same images, with logits.
        calibrated: thresholds that the export must contain, [exits - 1].
        temperatures: of every exit, [exits].

    Raises:
        ErdeError: an image leaves at another exit, or has another label or other probabilities.
    """
    early = len(calibrated)
    checks = [_compare(exported, pixels, expected, calibrated, temperatures, default=True)]
    for exit_ in range(early + 1):
        thresholds = [0.0] * exit_ + [math.inf] * (early - exit_)
        checks.append(_compare(exported, pixels, expected, thresholds, temperatures))
    return checks


def verify_static(
    exported: LogitsExported,
    pixels: ImageArray,
    expected: Answers,
    early: int,
    temperatures: Sequence[float] | None,
) -> list[Check]:
    """Compare a static network, from which all images leave at its one exit.

    Args:
        exported: the exported network, whose record names the exit.
        pixels: uint8 [images, height, width, 3].
        expected: answers of the original network to the same images, with logits.
        early: number of early exits of the original network.
        temperatures: of every exit, [exits].

    Raises:
        ErdeError: an image has another label or other logits.
    """
    exit_ = exported.record.static_exit
    if exit_ is None or expected.logits is None:
        raise ValueError("a static network and answers with logits")
    wanted = expected.logits[:, exit_]
    largest = float(np.abs(exported.logits(pixels).reshape(wanted.shape) - wanted).max())
    most = TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    if not largest <= most:
        raise ErdeError(
            "The export gives other logits than the bundle, so it was not kept.",
            got=f"logits of exit {exit_ + 1} differ by up to {largest:.2g}",
            expected=f"logits within {most:.2g}",
        )
    thresholds = ([0.0] * exit_ + [math.inf] * early)[:early]
    return [_compare(exported, pixels, expected, thresholds, temperatures, default=True)]


def _compare(
    exported: Exported,
    pixels: ImageArray,
    expected: Answers,
    thresholds: Sequence[float],
    temperatures: Sequence[float] | None,
    *,
    default: bool = False,
) -> Check:
    answers = exported.answer(pixels, None if default else thresholds)
    exits = first_exit(torch.from_numpy(expected.scores), thresholds).numpy()
    rows = np.arange(len(exits))
    near = near_threshold(expected.scores, thresholds, exits)
    labels = expected.predictions[rows, exits]
    elsewhere = (answers.exits != exits) & ~near
    other = (answers.labels != labels) & ~near & ~elsewhere
    differences = np.abs(answers.probabilities - _probabilities(expected, exits, temperatures))
    compared = differences[~near & ~elsewhere]
    largest = float(compared.max(initial=0.0))
    # `not <=`, so that NaN is refused as well.
    if elsewhere.any() or other.any() or not largest <= TOLERANCE:
        raise ErdeError(
            "The export gives other answers than the bundle, so it was not kept.",
            got=f"at thresholds {[write_threshold(value) for value in thresholds]}, "
            f"{int(elsewhere.sum())} of {len(rows)} images leave at another exit and "
            f"{int(other.sum())} have another label; probabilities differ by up to {largest:.2g}",
            expected=f"the same exits and labels, probabilities within {TOLERANCE:g}",
        )
    counts = np.bincount(exits, minlength=expected.scores.shape[1])
    return Check(tuple(thresholds), len(rows), tuple(counts.tolist()), int(near.sum()), largest)


def near_threshold(scores: FloatArray, thresholds: Sequence[float], exits: IntArray) -> BoolArray:
    """Whether a score up to the exit taken is within 1e-5 of its threshold, bool [images].

    Rounding cannot change the decision at the thresholds never (0) and always (inf).
    """
    limits = np.array(thresholds)
    close = np.abs(scores[:, :-1] - limits) <= NEAR
    close &= (limits > 0) & np.isfinite(limits)
    close &= np.arange(len(limits)) <= exits[:, None]
    near: BoolArray = close.any(axis=1)
    return near


def _probabilities(
    expected: Answers, exits: IntArray, temperatures: Sequence[float] | None
) -> Float32Array:
    """Softmax of the exit taken, at its temperature."""
    if expected.logits is None:
        raise ValueError("answers without logits")
    logits = torch.from_numpy(expected.logits[np.arange(len(exits)), exits])
    if temperatures is not None:
        logits = logits / torch.tensor(temperatures)[torch.from_numpy(exits)][:, None]
    probabilities: Float32Array = logits.softmax(dim=-1).numpy()
    return probabilities
