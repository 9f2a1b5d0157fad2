"""The objective of a training: a sum of loss terms, with or without a teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor

from erde_cli.core.data.batches import Batch
from erde_cli.core.training.losses import ExitLogits, LossTerm, combine


class SumOfTerms:
    """Loss terms, summed at every exit.

    Args:
        terms: from `label_terms` or `distillation_terms`.
        exit_weights: float32 [exits].
        teacher: returns the teacher's logits of a batch, float32 [batch, teacher exits, classes];
            None: no term uses a teacher.
        pairing: teacher exit for each exit, [exits].
        class_weights: float32 [classes]; they multiply every term of an image. None: all 1.
    """

    def __init__(
        self,
        terms: Sequence[LossTerm],
        exit_weights: Tensor,
        teacher: Callable[[Batch], Tensor] | None = None,
        pairing: Sequence[int] = (),
        class_weights: Tensor | None = None,
    ) -> None:
        self._terms = terms
        self._exit_weights = exit_weights
        self._teacher = teacher
        self._pairing = torch.tensor(list(pairing), device=exit_weights.device)
        self._class_weights = class_weights

    def __call__(self, logits: Tensor, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss, a scalar, and its terms, [exits] each, for logits float32 [batch, exits, classes].

        With a teacher, the share of images that each paired exit gets wrong is one of the terms.
        """
        if self._teacher is None:
            teacher_logits = logits.new_empty(0)
        else:
            teacher_logits = self._teacher(batch)[:, self._pairing]
        exits = ExitLogits(logits, teacher_logits, batch.labels, step)
        terms = {term.name: term(exits) for term in self._terms}
        if self._class_weights is not None:
            weights = self._class_weights[batch.labels][:, None]
            terms = {name: weights * term for name, term in terms.items()}
        loss = combine(reduce(torch.add, terms.values()), self._exit_weights)
        logged = {name: term.mean(dim=0) for name, term in terms.items()}
        if self._teacher is not None:
            logged["teacher_wrong"] = 1 - exits.teacher_correct.float().mean(dim=0)
        return loss, logged
