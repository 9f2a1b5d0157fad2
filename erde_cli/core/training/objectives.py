"""What a network is trained for: the labels, or the labels and a teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from erde_cli.core.data.batches import Batch
from erde_cli.core.device import Context
from erde_cli.core.randomness import permutation
from erde_cli.core.training.losses import (
    LossSettings,
    LossTerms,
    combine,
    distillation_terms,
    entropy_mask,
    label_terms,
    teacher_correct,
)

Logged = dict[str, Tensor]


class LabelObjective:
    """Cross-entropy at every exit, times `class_weights`, float32 [classes], if there are any."""

    def __init__(
        self, exit_weights: Tensor, label_smoothing: float, class_weights: Tensor | None = None
    ) -> None:
        self._exit_weights = exit_weights
        self._label_smoothing = label_smoothing
        self._class_weights = class_weights

    def __call__(self, logits: Tensor, batch: Batch, step: int) -> tuple[Tensor, Logged]:
        """Loss of logits [batch, exits, classes], a scalar, and its term per exit."""
        del step
        terms = label_terms(logits, batch.labels, self._label_smoothing)
        terms = terms.weighted(self._class_weights, batch.labels)
        loss = combine(terms.total, self._exit_weights)
        return loss, {"cross_entropy": terms.cross_entropy.mean(dim=0)}


class DistillationObjective:
    """`kd` or `erde`, exit by exit, from a teacher's logits for the same batch.

    `teacher` gives them for all its exits, float32 [batch, exits, classes]; `class_weights`,
    float32 [classes], multiply every term.
    """

    def __init__(
        self,
        teacher: Callable[[Batch], Tensor],
        pairing: Sequence[int],
        settings: LossSettings,
        exit_weights: Tensor,
        seed: int,
        context: Context,
        class_weights: Tensor | None = None,
    ) -> None:
        self._teacher = teacher
        self._pairing = torch.tensor(list(pairing), device=exit_weights.device)
        self._settings = settings
        self._exit_weights = exit_weights
        self._seed = seed
        self._context = context
        self._class_weights = class_weights

    def __call__(self, logits: Tensor, batch: Batch, step: int) -> tuple[Tensor, Logged]:
        """Loss of logits [batch, exits, classes], a scalar, and its terms per exit."""
        answers = self._teacher(batch)[:, self._pairing]
        mask = entropy_mask(answers, batch.labels, self._settings, self._order(batch, step))
        terms = distillation_terms(logits, answers, batch.labels, mask, self._settings)
        terms = terms.weighted(self._class_weights, batch.labels)
        correct = teacher_correct(answers, batch.labels)
        return combine(terms.total, self._exit_weights), _logged(terms, correct)

    def _order(self, batch: Batch, step: int) -> Tensor | None:
        if self._settings.entropy_on != "shuffled":
            return None
        order = permutation(
            len(batch.labels), self._seed, "entropy/shuffled", step, self._context.rank
        )
        return torch.from_numpy(order).to(batch.labels.device, non_blocking=True)


def _logged(terms: LossTerms, correct: Tensor) -> Logged:
    return {
        "cross_entropy": terms.cross_entropy.mean(dim=0),
        "distillation": terms.distillation.mean(dim=0),
        "entropy": terms.entropy.mean(dim=0),
        "teacher_wrong": 1 - correct.float().mean(dim=0),
    }
