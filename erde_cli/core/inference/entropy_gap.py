"""Entropy at early exits on images that the teacher gets wrong, and on those it gets right.

The gap between both groups shows whether the entropy term raises the entropy of the former alone.
Compare it with that of a student trained without the term, because images that are hard for the
teacher have a high entropy in any student.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from erde_cli.core.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class EntropyGap:
    """One early exit (from 0), on images the teacher's paired exit gets wrong and right.

    wrong, right: mean entropy in nats. accuracy_wrong, accuracy_right: of this exit, 0 to 1. These
    are None without such images. share_wrong: share of images the teacher gets wrong, 0 to 1.
    """

    exit: int
    wrong: float | None
    right: float | None
    share_wrong: float
    accuracy_wrong: float | None
    accuracy_right: float | None

    @property
    def gap(self) -> float | None:
        """Mean entropy where the teacher is wrong minus that where it is right, in nats."""
        return None if self.wrong is None or self.right is None else self.wrong - self.right

    def to_json(self) -> dict[str, float | None]:
        """An object of `entropy_gaps`: the fields, and the gap."""
        return {**asdict(self), "gap": self.gap}


def entropy_gaps(
    scores: FloatArray, correct: BoolArray, teacher_correct: BoolArray
) -> list[EntropyGap]:
    """Entropy and accuracy of every early exit, by whether the teacher is wrong or right.

    Args:
        scores: entropies of the student's exits in nats, float64 [images, exits].
        correct: whether the student's exits are right, bool [images, exits].
        teacher_correct: whether the teacher's paired exits are right, bool [images, exits].

    Raises:
        ValueError: the shapes of the arrays differ.
    """
    if not scores.shape == correct.shape == teacher_correct.shape:
        shapes = f"{scores.shape}, {correct.shape}, {teacher_correct.shape}"
        raise ValueError(f"the same images and exits expected, got {shapes}")
    return [
        _gap(exit_, scores[:, exit_], correct[:, exit_], ~teacher_correct[:, exit_])
        for exit_ in range(scores.shape[1] - 1)
    ]


def _gap(exit_: int, scores: FloatArray, correct: BoolArray, wrong: BoolArray) -> EntropyGap:
    return EntropyGap(
        exit_,
        wrong=_mean(scores[wrong]),
        right=_mean(scores[~wrong]),
        share_wrong=float(wrong.mean()),
        accuracy_wrong=_mean(correct[wrong]),
        accuracy_right=_mean(correct[~wrong]),
    )


def _mean(values: FloatArray | BoolArray) -> float | None:
    """Mean of some images; None where there are none."""
    return float(values.mean(dtype=np.float64)) if len(values) else None
