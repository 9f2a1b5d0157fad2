"""Answers of a network for every image of a store: of all exits, or of the exit each leaves at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from erde_cli.core.arrays import BoolArray, FloatArray, IntArray
from erde_cli.core.data.batches import evaluation_batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context
from erde_cli.core.inference.routing import all_scores, route
from erde_cli.core.inference.rows import require_finite
from erde_cli.core.models.early_exit import EarlyExitNet, evaluation_mode
from erde_cli.core.models.folding import folded
from erde_cli.core.thresholds.scores import ENTROPY, Score


@dataclass(frozen=True)
class Answers:
    """Answers of every exit for every image.

    correct: bool [images, exits]. scores: in the score's unit, float64 [images, exits].
    predictions: labels, int64 [images, exits]. logits: float32 [images, exits, classes], or None.
    other_entropies: in nats, float64 [images, exits]; None if the scores are entropies.
    """

    correct: BoolArray
    scores: FloatArray
    predictions: IntArray
    logits: NDArray[np.float32] | None = None
    other_entropies: FloatArray | None = None

    @property
    def entropies(self) -> FloatArray:
        """Entropy in nats for any score, float64 [images, exits]."""
        return self.scores if self.other_entropies is None else self.other_entropies

    @property
    def accuracy(self) -> list[float]:
        """Accuracy of each exit on all images, from 0 to 1."""
        return [float(share) for share in self.correct.mean(axis=0)]

    def require_finite(self) -> Answers:
        """These answers, after a check that all scores are finite.

        Raises:
            BundleError: a score is not finite, for example because weights are damaged.
        """
        require_finite(self.scores)
        return self


@dataclass(frozen=True)
class RoutedAnswers:
    """Exit and predicted label of every image under early exit, int64 [images] each."""

    exits: IntArray
    predictions: IntArray


def ready(model: EarlyExitNet, context: Context) -> EarlyExitNet:
    """Copy of a network for inference: norms folded, on the device, in the context's layout.

    Calibration, evaluation and routing all use this form. So thresholds are chosen and tested on
    the same scores.
    """
    network = folded(model)
    context.place(network)
    return network


@torch.inference_mode()
def answer_all(
    model: EarlyExitNet,
    store: ImageStore,
    normalisation: Normalisation,
    context: Context,
    temperatures: Sequence[float] | None = None,
    *,
    keep_logits: bool = False,
    score: Score = ENTROPY,
) -> Answers:
    """Run every image through every exit. The model's mode does not change.

    Args:
        model: network, made `ready`.
        store: images and labels.
        normalisation: of the network's input.
        context: the one of `ready`.
        temperatures: of every exit, [exits]; they change scores, never predictions or logits.
        keep_logits: return the logits too; fitting temperatures needs them.
        score: what the exit rule tests.

    Raises:
        ValueError: there is not one positive temperature per exit.
    """
    scores, entropies, predictions, kept = [], [], [], []
    with evaluation_mode(model):
        for batch in evaluation_batches(store, normalisation, context):
            with context.autocast():
                logits = model(batch.images).float()
            scores.append(all_scores(logits, temperatures, score).cpu())
            if score != ENTROPY:
                entropies.append(all_scores(logits, temperatures).cpu())
            predictions.append(logits.argmax(dim=-1).cpu())
            if keep_logits:
                kept.append(logits.cpu())
    chosen = torch.cat(predictions)
    correct = chosen == store.labels[:, None]
    return Answers(
        correct.numpy(),
        torch.cat(scores).double().numpy(),
        chosen.numpy(),
        torch.cat(kept).numpy() if keep_logits else None,
        torch.cat(entropies).double().numpy() if entropies else None,
    )


def route_all(
    model: EarlyExitNet,
    store: ImageStore,
    normalisation: Normalisation,
    thresholds: Sequence[float],
    context: Context,
    temperatures: Sequence[float] | None = None,
    score: Score = ENTROPY,
) -> RoutedAnswers:
    """Run every image up to the exit it leaves at, under thresholds in the score's unit.

    Arguments are as in `answer_all`. Temperatures change exits, never the prediction of an exit.

    Raises:
        ValueError: the number of thresholds or the temperatures do not fit the network.
    """
    exits, predictions = [], []
    with evaluation_mode(model):
        for batch in evaluation_batches(store, normalisation, context):
            with context.autocast():
                routed = route(model, batch.images, thresholds, temperatures, score)
            exits.append(routed.exit.cpu())
            predictions.append(routed.logits.argmax(dim=-1).cpu())
    return RoutedAnswers(torch.cat(exits).numpy(), torch.cat(predictions).numpy())
