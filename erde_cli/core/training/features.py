"""What the heads read: computed by the frozen part of a network, and given in place of images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from erde_cli.core.data.batches import Batch, Inputs
from erde_cli.core.device import Context
from erde_cli.core.events import Observer
from erde_cli.core.inference.answers import Answers
from erde_cli.core.inference.routing import all_scores
from erde_cli.core.models.early_exit import EarlyExitNet, evaluation_mode
from erde_cli.core.models.head_inputs import HeadInputs
from erde_cli.core.training.view_cache import HalfArray, KeptViews, half

_AT_ONCE = 1024  # rows in an evaluation


class ComputedFeatures:
    """Runs the frozen part of a network on every batch."""

    def __init__(self, frozen: HeadInputs, context: Context) -> None:
        self._frozen, self._context = frozen, context
        context.place(frozen)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Rows, float32 [batch, row]."""
        with self._context.autocast():
            rows: Tensor = self._frozen(batch.images)
        return rows


def feature_inputs(views: KeptViews, context: Context) -> Inputs:
    """Kept rows in place of images: float32 [batch, row] for positions [batch] and a view."""
    return lambda positions, view: context.to_device(views.rows(positions, view)).float()


class FeatureAnswers:
    """Answers of the trained part for images whose features are in memory.

    The features are rounded to float16, like those that are trained on.
    """

    def __init__(
        self, compute: ComputedFeatures, batches: Iterable[Batch], images: int, context: Context,
        observer: Observer,
    ) -> None:  # fmt: skip
        """Compute the features of all `images` images of the batches."""
        rows: list[HalfArray] = []
        labels: list[Tensor] = []
        for batch in batches:
            rows.append(half(compute(batch)))
            labels.append(batch.labels.cpu())
            observer.progress("Features, calibration", sum(map(len, rows)), images)
        self._rows = torch.cat([torch.from_numpy(part) for part in rows])
        self._labels = torch.cat(labels)
        self._context = context

    @torch.inference_mode()
    def __call__(self, trained: EarlyExitNet) -> Answers:
        """Answers of every exit. The mode of the network does not change."""
        scores, predictions = [], []
        with evaluation_mode(trained):
            for part in torch.split(self._rows, _AT_ONCE):
                with self._context.autocast():
                    logits = trained(self._context.to_device(part).float()).float()
                scores.append(all_scores(logits).cpu())
                predictions.append(logits.argmax(dim=-1).cpu())
        chosen = torch.cat(predictions)
        return Answers(
            (chosen == self._labels[:, None]).numpy(),
            torch.cat(scores).double().numpy(),
            chosen.numpy(),
        )
