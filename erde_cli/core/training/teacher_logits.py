"""The teacher's logits for the student's batches: computed each time, or cached by view."""

from __future__ import annotations

import torch
from torch import Tensor

from erde_cli.core.data.batches import Batch, Batches
from erde_cli.core.device import Context
from erde_cli.core.events import Observer
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.folding import folded
from erde_cli.core.training.view_cache import KeptViews, ViewCache


class ComputedLogits:
    """Runs the teacher, in evaluation mode, on the whole views of every batch.

    rescale: scale and shift of each channel, float32 [3] each, from the student's normalisation to
    the teacher's; None if they are the same.
    """

    def __init__(
        self,
        teacher: EarlyExitNet,
        context: Context,
        rescale: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self._teacher = folded(teacher)
        self._context = context
        self._rescale = rescale and tuple(
            context.to_device(one[:, None, None].to(context.dtype)) for one in rescale
        )
        context.place(self._teacher)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Logits of every teacher exit, float32 [batch, teacher exits, classes]."""
        images = batch.images if batch.whole is None else batch.whole()
        if self._rescale:
            scale, shift = self._rescale
            images = torch.addcmul(shift, images, scale)
        with self._context.autocast():
            logits: Tensor = self._teacher(images)
        return logits.float()


class CachedLogits:
    """Reads the teacher's logits from a cache; a missing view is computed once, for all images."""

    def __init__(
        self, compute: ComputedLogits, batches: Batches, cache: ViewCache, context: Context,
        observer: Observer,
    ) -> None:  # fmt: skip
        self._views = KeptViews(compute, batches, cache, "Teacher's logits", observer)
        self._context = context

    def __call__(self, batch: Batch) -> Tensor:
        """Logits of every teacher exit, float32 [batch, teacher exits, classes]."""
        return self._context.to_device(self._views.rows(batch.rows, batch.view)).float()

    def fill(self, views: int) -> None:
        """Compute those of the first `views` views that are missing or damaged."""
        self._views.fill(views)
