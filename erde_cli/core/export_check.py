"""Whether an exported network answers as the bundle does: the same exits, the same labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erde_cli.core.errors import ErdeError
from erde_cli.core.exits import all_scores, first_exit
from erde_cli.core.onnx_session import Exported

CLOSE = 1e-5  # nats; nearer to a threshold, rounding may decide
TOLERANCE = 1e-4  # of a probability


@dataclass(frozen=True)
class Reference:
    """What the bundle's network says of the images: logits float32 [images, exits, classes]."""

    logits: Tensor
    temperatures: tuple[float, ...] | None

    @property
    def exits(self) -> int:
        """Number of exits."""
        return self.logits.shape[1]

    def scores(self) -> Tensor:
        """Score of every exit in nats, float32 [images, exits]."""
        return all_scores(self.logits, self.temperatures)

    def probabilities(self) -> Tensor:
        """At each exit's temperature, float32 [images, exits, classes]."""
        logits = self.logits
        if self.temperatures is not None:
            logits = logits / torch.tensor(self.temperatures)[None, :, None]
        return logits.softmax(dim=-1)


@dataclass(frozen=True)
class Agreement:
    """How an exported network compares with its bundle, all comparisons together.

    compared, close: images that were compared, and that lay too close to a threshold for it.
    largest_difference: of a probability. exit_counts: images that left at each exit, [exits], at
    the calibrated thresholds.
    """

    images: int
    compared: int
    close: int
    largest_difference: float
    exit_counts: list[int]


def check(
    exported: Exported,
    images: NDArray[Any],
    reference: Reference,
    thresholds: Sequence[float],
) -> Agreement:
    """Compare under the thresholds it carries, and under those that send all images to one exit.

    Raises:
        ErdeError: an exit or a label is another, or a probability differs by more than rounding.
    """
    early = reference.exits - 1
    forced = [[0.0] * exit_ + [math.inf] * (early - exit_) for exit_ in range(early + 1)]
    found = [_compare(exported, images, reference, None, thresholds)]
    found += [_compare(exported, images, reference, limits, limits) for limits in forced]
    exits = first_exit(reference.scores(), thresholds)
    compared = sum(int(count) for count, _ in found)
    return Agreement(
        len(images),
        compared,
        len(images) * len(found) - compared,
        max(difference for _, difference in found),
        torch.bincount(exits, minlength=reference.exits).tolist(),
    )


def check_logits(found: Tensor, reference: Reference) -> Agreement:
    """Compare the logits of every exit.

    Raises:
        ErdeError: a probability differs by more than rounding.
    """
    difference = (found.softmax(dim=-1) - reference.logits.softmax(dim=-1)).abs().max().item()
    if not difference <= TOLERANCE:
        raise _differs(f"a probability differs by {difference:.2g}")
    images = len(found)
    return Agreement(images, images, 0, difference, [images] * reference.exits)


def _compare(
    exported: Exported,
    images: NDArray[Any],
    reference: Reference,
    given: Sequence[float] | None,
    expected: Sequence[float],
) -> tuple[int, float]:
    """Number of images compared, and the largest difference of a probability."""
    answers = exported.run(images, given)
    scores = reference.scores()
    exits = first_exit(scores, expected)
    rows = torch.arange(len(images))
    said = reference.probabilities()[rows, exits].numpy()
    far = ~_close(scores, exits, expected)
    labels = reference.logits[rows, exits].argmax(dim=-1).numpy()
    if (answers.exits != exits.numpy())[far].any():
        wrong = int((answers.exits != exits.numpy())[far].sum())
        raise _differs(f"{wrong} of {int(far.sum())} images leave at another exit")
    if (answers.labels != labels)[far].any():
        raise _differs("an image has another label")
    difference = float(np.abs(answers.probabilities - said)[far].max(initial=0))
    if not difference <= TOLERANCE:
        raise _differs(f"a probability differs by {difference:.2g}")
    return int(far.sum()), difference


def _close(scores: Tensor, exits: Tensor, thresholds: Sequence[float]) -> NDArray[np.bool_]:
    """Whether a score on the way of an image lies so near its threshold that rounding decides."""
    limits = torch.tensor(list(thresholds), dtype=torch.float64)
    near = (scores[:, :-1].double() - limits).abs() < CLOSE
    asked = torch.arange(len(limits)) <= exits[:, None]
    found: NDArray[np.bool_] = (near & asked).any(dim=1).numpy()
    return found


def _differs(how: str) -> ErdeError:
    return ErdeError(
        "The exported network does not answer as the bundle does, so nothing was kept.",
        got=how,
        expected=f"the same exits and labels, and probabilities within {TOLERANCE:g}",
    )
