"""Predictions as one object per image, and checks of what a network returned. Never imports torch.

The label is the largest of the logits. Confidence and entropy are those of the exit taken, at its
temperature if it has one. If entropy is the score, it is the value that the exit rule tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.arrays import Float32Array, IntArray
from erde_cli.core.errors import EXPORT_AGAIN, BundleError


@dataclass(frozen=True)
class Prediction:
    """Prediction of one image.

    Attributes:
        label: number of the class, from 0.
        class_name: its name.
        confidence: softmax probability of that class at the exit taken, from 0 to 1.
        entropy: of the softmax at the exit taken, in nats, for any score.
        exit: where the image left, from 0.
        macs: multiply-adds spent on the image: every stage and every head on the way.
    """

    label: int
    class_name: str
    confidence: float
    entropy: float
    exit: int
    macs: int


@dataclass(frozen=True)
class Columns:
    """Predictions of many images, [images]: int64, float32, float32, int64."""

    labels: IntArray
    confidences: Float32Array
    entropies: Float32Array
    exits: IntArray


def prediction_rows(
    columns: Columns, class_names: Sequence[str], macs: Sequence[int]
) -> list[Prediction]:
    """One object per image.

    Args:
        columns: predictions of the images.
        class_names: [classes].
        macs: MACs of an image that leaves at each exit, [exits].

    Raises:
        BundleError: a number is not finite, or the network has no such label or exit.
    """
    require_finite(np.stack([columns.confidences, columns.entropies]))
    _require_below(columns.labels, len(class_names), "label")
    _require_below(columns.exits, len(macs), "exit")
    values = (columns.labels, columns.confidences, columns.entropies, columns.exits)
    return [
        Prediction(label, class_names[label], confidence, entropy, exit_, macs[exit_])
        for label, confidence, entropy, exit_ in zip(*(one.tolist() for one in values), strict=True)
    ]


def require_finite(scores: NDArray[np.floating]) -> None:
    """Check that all scores of a network, of any shape, are finite.

    Raises:
        BundleError: one is not.
    """
    bad = int(np.count_nonzero(~np.isfinite(scores)))
    if bad:
        raise BundleError(
            "The network's scores are not finite numbers.",
            got=f"{bad:,} of {scores.size:,} scores are infinite or NaN",
            expected="unchanged weights, normalisation and temperatures",
            hint="copy the model again, or train or export it again",
        )


def _require_below(numbers: IntArray, count: int, kind: str) -> None:
    """Check labels and exits: a foreign file can return any number."""
    if bool(((numbers < 0) | (numbers >= count)).any()):
        raise BundleError(
            f"The network returns a {kind} that does not exist.",
            expected=f"numbers from 0 to {count - 1}",
            hint=EXPORT_AGAIN,
        )
