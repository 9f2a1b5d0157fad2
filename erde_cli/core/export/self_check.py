"""Make and run the check vector of an export: an image from a formula, and each exit's answer."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erde_cli.core.errors import EXPORT_AGAIN, BundleError, ErdeError
from erde_cli.core.export.check import Exported
from erde_cli.core.export.check_vector import (
    CANDIDATES,
    FORMULA,
    INT8_TOLERANCE,
    TOLERANCE,
    CheckVector,
    ExitAnswer,
    vector_pixels,
)
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.inference.routing import score_of
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.runner.answers import ExportedAnswers
from erde_cli.core.storage.json_files import Json

_DIGITS, _INT8_DIGITS = 6, 4  # so that another number of threads gives the same bytes


@dataclass(frozen=True)
class CheckedExit:
    """What an exit should answer to the check vector, and what it answered."""

    expected: ExitAnswer
    found: ExitAnswer
    tolerance: float

    @property
    def difference(self) -> float:
        """Largest difference of probability and score."""
        probabilities = self.found.probability - self.expected.probability
        return max(abs(probabilities), abs(self.found.score - self.expected.score))

    @property
    def is_right(self) -> bool:
        """Whether exit and label are equal and the numbers within the tolerance."""
        numbers = [(one.exit, one.label) for one in (self.found, self.expected)]
        return numbers[0] == numbers[1] and self.difference <= self.tolerance

    def to_json(self) -> Json:
        """Form in JSON."""
        return {
            "expected": self.expected.model_dump(),
            "found": self.found.model_dump(),
            "difference": self.difference,
            "right": self.is_right,
        }


@torch.inference_mode()
def expected_vector(model: EarlyExitNet, record: ExportRecord) -> CheckVector:
    """Check vector with the answers of the network itself, in float64.

    It is the candidate on whose label the exits agree most clearly, so that rounding changes none.
    """
    exits = list(record.answering_exits)
    network = copy.deepcopy(model).cpu().double().eval()
    scale, shift = (one.double() for one in record.measured_normalisation.scale_and_shift())
    pixels = np.stack([vector_pixels(record.image_size, n) for n in range(CANDIDATES)])
    rows = [
        network((torch.from_numpy(one)[None] * scale - shift).permute(0, 3, 1, 2))[0]
        for one in pixels
    ]
    logits = torch.stack(rows)[:, exits]  # [candidates, exits, classes]
    best = logits.softmax(dim=-1).topk(2, dim=-1).values
    n = int((best[..., 0] - best[..., 1]).amin(dim=1).argmax())
    answers = [
        _answer(exit_, at_exit, record.temperature_of_exits[exit_], record)
        for exit_, at_exit in zip(exits, logits[n], strict=True)
    ]
    return CheckVector(formula=FORMULA, n=n, tolerance=TOLERANCE, exits=answers)


def observed_vector(exported: Exported, n: int) -> CheckVector:
    """Check vector with the answers of an int8 export, which no other network gives."""
    found = [
        _rounded(_found(exported, n, exit_), _INT8_DIGITS)
        for exit_ in exported.record.answering_exits
    ]
    return CheckVector(formula=FORMULA, n=n, tolerance=INT8_TOLERANCE, exits=found)


def check_vector(exported: Exported, vector: CheckVector) -> list[CheckedExit]:
    """Run an export on its check vector, with the image sent to each exit in turn."""
    return [
        CheckedExit(one, _found(exported, vector.n, one.exit), vector.tolerance)
        for one in vector.exits
    ]


def require_right(exits: Sequence[CheckedExit]) -> None:
    """Check that an export that was just written answers its vector.

    Raises:
        ErdeError: an answer differs.
    """
    wrong = [one for one in exits if not one.is_right]
    if wrong:
        raise ErdeError(
            "The export does not give the answers of its check vector, so it was not kept.",
            got=f"at exit {wrong[0].expected.exit + 1}: {wrong[0].found}",
            expected=f"{wrong[0].expected}, within {wrong[0].tolerance:g}",
        )


def _answer(
    exit_: int, logits: Tensor, temperature: float | None, record: ExportRecord
) -> ExitAnswer:
    """Answer of an exit from its logits, float64 [classes]."""
    label = int(logits.argmax())
    scaled = logits if temperature is None else logits / temperature
    return _rounded(
        ExitAnswer(
            exit=exit_,
            label=label,
            probability=float(scaled.softmax(dim=-1)[label]),
            score=float(score_of(logits, temperature, record.score)),
        ),
        _DIGITS,
    )


def _found(exported: Exported, n: int, exit_: int) -> ExitAnswer:
    """Answer of an export that is sent to an exit; a single file takes the image alone."""
    record = exported.record
    early = record.exit_count - 1
    thresholds = [0.0] * exit_ + [math.inf] * (early - exit_)
    answers = exported.answer(vector_pixels(record.image_size, n)[None], thresholds)
    label = int(answers.labels[0])
    probability, score = float(answers.probabilities[0, label]), _score(answers, record)
    if not math.isfinite(probability) or not math.isfinite(score):
        raise BundleError(
            "The answer of the export to its check vector is not a number.",
            got=f"probability {probability}, score {score} at exit {exit_ + 1}",
            expected="finite numbers",
            hint=EXPORT_AGAIN,
        )
    return ExitAnswer(
        exit=int(answers.exits[0]),
        label=label,
        probability=min(1.0, max(0.0, probability)),
        score=score,
    )


def _score(answers: ExportedAnswers, record: ExportRecord) -> float:
    """Score of the exit taken; a single file returns only probabilities."""
    if answers.scores is not None:
        return float(answers.scores[0])
    smallest = np.finfo(np.float32).tiny  # log(0) is -inf
    logits = torch.from_numpy(np.log(np.maximum(answers.probabilities[0], smallest)))
    return float(record.score.value(logits))


def _rounded(answer: ExitAnswer, digits: int) -> ExitAnswer:
    numbers = {"probability": answer.probability, "score": answer.score}
    rounded = {name: round(value, digits) for name, value in numbers.items()}
    return answer.model_copy(update=rounded)
