"""Answers of exports that return logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from erde_cli.core.export.record import ExportRecord
from erde_cli.core.inference.routing import all_scores, first_exit
from erde_cli.core.runner.answers import ExportedAnswers


def answers_of_logits(
    logits: Tensor, record: ExportRecord, thresholds: Sequence[float] | None
) -> ExportedAnswers:
    """Route the logits of all exits.

    Args:
        logits: float32 [images, exits, classes]; of a static network [images, classes].
        record: of the export.
        thresholds: θ of the early exits; None: those of the record. A static network has none.
    """
    if record.static_exit is None:
        scores = all_scores(logits, record.temperatures, record.score)
        exits = first_exit(scores, record.thresholds if thresholds is None else thresholds)
        taken = logits[torch.arange(len(logits)), exits]
    else:
        exits, taken = torch.full((len(logits),), record.static_exit), logits
    labels = taken.argmax(dim=-1)
    if record.temperatures is not None:
        taken = taken / torch.tensor(record.temperatures)[exits][:, None]
    return ExportedAnswers(labels.numpy(), exits.numpy(), taken.softmax(dim=-1).numpy())
