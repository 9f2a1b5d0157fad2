"""The answers of an export, and thresholds in the form that its graph compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from erde_cli.core.arrays import Float32Array, IntArray


@dataclass(frozen=True)
class ExportedAnswers:
    """labels, exits: int64 [images]. probabilities: float32 [images, classes].

    Probabilities and scores (float32 [images]; None: the export returns none) are those of the exit
    taken, at its temperature.
    """

    labels: IntArray
    exits: IntArray
    probabilities: Float32Array
    scores: Float32Array | None = None

    def entropies(self) -> Float32Array:
        """Entropy of the probabilities in nats, float32 [images]."""
        exact = self.probabilities.astype(np.float64)
        logarithms = np.log(exact, out=np.zeros_like(exact), where=exact > 0)  # 0 log 0 is 0
        return np.asarray(-(exact * logarithms).sum(axis=1), np.float32)


def float32_thresholds(values: Sequence[float]) -> Float32Array:
    """Thresholds that give the same decisions on float32 scores, float32 [exits - 1].

    They are rounded up: a float32 score is below θ if and only if it is below the result.
    """
    exact = np.array(values, dtype=np.float64)
    rounded = exact.astype(np.float32)
    return np.where(rounded < exact, np.nextafter(rounded, np.float32(np.inf)), rounded)


def require_valid(answers: ExportedAnswers, images: int, classes: int, exits: int) -> None:
    """Check shapes and ranges of answers: an untrusted file can return anything.

    Raises:
        ValueError: they are not those of an export of erde.
    """
    for numbers, count in ((answers.labels, classes), (answers.exits, exits)):
        if numbers.shape != (images,) or not np.isin(numbers, np.arange(count)).all():
            raise ValueError(f"numbers from 0 to {count - 1} expected, one for each image")
    if answers.probabilities.shape != (images, classes):
        raise ValueError("a probability for each class expected")
