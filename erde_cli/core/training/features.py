"""What the heads read: computed by the frozen part of a network, and given in place of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from erde_cli.core.data.batches import Batch, Inputs
from erde_cli.core.device import Context
from erde_cli.core.events import Observer
from erde_cli.core.inference.answers import Answers
from erde_cli.core.inference.routing import all_scores
from erde_cli.core.models.early_exit import EarlyExitNet, evaluation_mode
from erde_cli.core.models.head_inputs import HeadInputs
from erde_cli.core.storage.files import reporting_write_errors
from erde_cli.core.storage.temporary import new_file
from erde_cli.core.training.view_cache import HalfArray, KeptViews, append_parts, half

_AT_ONCE = 1024  # rows in an evaluation


class ComputedFeatures:
    """Runs the frozen part of a network on every batch."""

    def __init__(self, frozen: HeadInputs, context: Context) -> None:
        self._frozen, self.context = frozen, context
        context.place(frozen)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Rows, float32 [batch, row]."""
        with self.context.autocast():
            rows: Tensor = self._frozen(batch.images)
        return rows


def feature_inputs(views: KeptViews, context: Context) -> Inputs:
    """Kept rows in place of images: float32 [batch, row] for positions [batch] and a view."""
    return lambda positions, view: context.to_device(views.rows(positions, view)).float()


class FeatureAnswers:
    """Answers of the trained part for images whose features are in a mapped file without a name.

    The features are rounded to float16, like those that are trained on.
    """

    def __init__(
        self, compute: ComputedFeatures, batches: Iterable[Batch], shape: tuple[int, int],
        folder: Path, observer: Observer,
    ) -> None:  # fmt: skip
        """Compute the features of all images of the batches.

        Args:
            compute: the frozen part.
            batches: the images.
            shape: number of images, numbers in a row.
            folder: of the file, which is removed with the process.
            observer: receives the progress.

        Raises:
            ErdeError: the file cannot be written.
        """
        labels: list[Tensor] = []

        def parts() -> Iterator[HalfArray]:
            for batch in batches:
                labels.append(batch.labels.cpu())
                yield half(compute(batch))
                observer.progress("Features, calibration", sum(map(len, labels)), shape[0])

        path = folder / "answers"
        with ExitStack() as stack:
            with reporting_write_errors(path):
                file = stack.enter_context(new_file(path))
            append_parts(file, parts())
            self._rows = np.memmap(file, np.float16, "r", shape=shape)
        self._labels = torch.cat(labels)
        self._context = compute.context

    @torch.inference_mode()
    def __call__(self, trained: EarlyExitNet) -> Answers:
        """Answers of every exit. The mode of the network does not change."""
        scores, predictions = [], []
        with evaluation_mode(trained):
            for start in range(0, len(self._rows), _AT_ONCE):
                part = torch.from_numpy(np.array(self._rows[start : start + _AT_ONCE]))
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
