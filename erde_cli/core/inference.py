"""Logits of every exit for every image of a store: what calibration and evaluation start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from erde_cli.core.context import Context
from erde_cli.core.data import ImageStore, Normalisation, evaluation_batches
from erde_cli.core.entropy import softmax_entropy
from erde_cli.core.models import EarlyExitNet
from erde_cli.core.modes import evaluation_mode


@dataclass(frozen=True)
class Answers:
    """What every exit says of every image.

    correct: bool [images, exits]. scores: entropy in nats, float64 [images, exits].
    predictions: int64 [images, exits].
    """

    correct: NDArray[np.bool_]
    scores: NDArray[np.float64]
    predictions: NDArray[np.int64]

    @property
    def accuracy(self) -> list[float]:
        """Share of right answers of each exit, over all images."""
        return [float(share) for share in self.correct.mean(axis=0)]


@torch.inference_mode()
def answer_all(
    model: EarlyExitNet, store: ImageStore, normalisation: Normalisation, context: Context
) -> Answers:
    """Run every image through every exit; leaves the model in the mode it was in."""
    scores, predictions = [], []
    with evaluation_mode(model):
        for batch in evaluation_batches(store, normalisation, context):
            with context.autocast():
                logits = model(batch.images).float()
            scores.append(softmax_entropy(logits).cpu())
            predictions.append(logits.argmax(dim=-1).cpu())
    chosen = torch.cat(predictions)
    correct = chosen == store.labels[:, None]
    return Answers(correct.numpy(), torch.cat(scores).double().numpy(), chosen.numpy())
