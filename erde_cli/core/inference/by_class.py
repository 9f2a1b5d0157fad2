"""Figures of each class: recall, precision, exit rates and expected MACs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from erde_cli.core.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class ByClass:
    """A network's answers, counted by class.

    confusion: images by true class (rows) and by answer (columns), int64 [classes, classes].
    left: images by true class and the exit they leave at, int64 [classes, exits].
    cumulative_macs: MACs of an image that leaves at each exit, float64 [exits].
    """

    class_names: tuple[str, ...]
    confusion: IntArray
    left: IntArray
    cumulative_macs: FloatArray

    @property
    def images(self) -> IntArray:
        """Images of each class, int64 [classes]."""
        counts: IntArray = self.confusion.sum(axis=1)
        return counts

    @property
    def recall(self) -> list[float | None]:
        """Share of each class's images with the right answer, [classes]; None without images."""
        return _shares(self.confusion.diagonal(), self.images)

    @property
    def precision(self) -> list[float | None]:
        """Share of right answers among the answers of each class, [classes]; None without any."""
        return _shares(self.confusion.diagonal(), self.confusion.sum(axis=0))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes that have images."""
        return float(np.mean([share for share in self.recall if share is not None]))

    def rows(self) -> list[dict[str, Any]]:
        """One object per class, in the order of the labels, as `--json` prints it."""
        counts = self.images.tolist()
        rates = [
            [left / count for left in row] if count else None
            for row, count in zip(self.left.tolist(), counts, strict=True)
        ]
        columns = zip(self.class_names, counts, self.recall, self.precision, rates, strict=True)
        return [
            {
                "class_name": name,
                "images": count,
                "recall": recall,
                "precision": precision,
                "exit_rates": shares,
                "expected_macs": shares and float(np.dot(shares, self.cumulative_macs)),
            }
            for name, count, recall, precision, shares in columns
        ]


def by_class(
    class_names: Sequence[str],
    labels: IntArray,
    answers: IntArray,
    exits: IntArray,
    cumulative_macs: FloatArray,
) -> ByClass:
    """Count answers by class.

    Args:
        class_names: name of each label, [classes].
        labels: true class of each image, int64 [images].
        answers: predicted class of each image, int64 [images].
        exits: exit that each image leaves at, int64 [images].
        cumulative_macs: MACs of an image that leaves at each exit, float64 [exits].
    """
    classes = len(class_names)
    return ByClass(
        tuple(class_names),
        _counts(labels, answers, (classes, classes)),
        _counts(labels, exits, (classes, len(cumulative_macs))),
        cumulative_macs,
    )


def _counts(rows: IntArray, columns: IntArray, shape: tuple[int, int]) -> IntArray:
    cells = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1])
    return cells.reshape(shape).astype(np.int64, copy=False)


def _shares(right: IntArray, of: IntArray) -> list[float | None]:
    pairs = zip(right.tolist(), of.tolist(), strict=True)
    return [part / whole if whole else None for part, whole in pairs]
