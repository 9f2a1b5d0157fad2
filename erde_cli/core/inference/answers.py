"""A network's answers for every image of a store: of all exits, or of the one it leaves at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from erde_cli.core.data.batches import evaluation_batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context
from erde_cli.core.errors import BundleError
from erde_cli.core.inference.routing import all_scores, route
from erde_cli.core.models.early_exit import EarlyExitNet, evaluation_mode
from erde_cli.core.models.folding import folded
from erde_cli.core.thresholds.scores import ENTROPY, Score


@dataclass(frozen=True)
class Answers:
    """What every exit says of every image.

    correct: bool [images, exits]. scores: in the score's unit, float64 [images, exits].
    predictions: int64 [images, exits]. logits: float32 [images, exits, classes], where asked for.
    other_entropies: nats, float64 [images, exits], where the scores are none.
    """

    correct: NDArray[np.bool_]
    scores: NDArray[np.float64]
    predictions: NDArray[np.int64]
    logits: NDArray[np.float32] | None = None
    other_entropies: NDArray[np.float64] | None = None

    @property
    def entropies(self) -> NDArray[np.float64]:
        """Entropy in nats, whatever the score, float64 [images, exits]."""
        return self.scores if self.other_entropies is None else self.other_entropies

    @property
    def accuracy(self) -> list[float]:
        """Share of right answers of each exit, over all images."""
        return [float(share) for share in self.correct.mean(axis=0)]

    def require_finite(self) -> Answers:
        """The same, of a network that can be used.

        Raises:
            BundleError: some score is no number, as damaged or made-up weights give.
        """
        require_finite(self.scores)
        return self


@dataclass(frozen=True)
class RoutedAnswers:
    """What early exit gives for every image: exit and prediction, int64 [images] each."""

    exits: NDArray[np.int64]
    predictions: NDArray[np.int64]


def require_finite(scores: NDArray[np.floating]) -> None:
    """Check that a network's scores are numbers: nothing can be decided or written of others.

    Raises:
        BundleError: one is not.
    """
    bad = int(np.count_nonzero(~np.isfinite(scores)))
    if bad:
        raise BundleError(
            "The network does not answer with finite numbers.",
            got=f"{bad:,} of {scores.size:,} scores are none",
            expected="weights, normalisation and temperatures as they were written",
            hint="copy the model again, or make it again",
        )


def ready(model: EarlyExitNet, context: Context) -> EarlyExitNet:
    """Copy of a network made ready for inference: norms folded, on the device, in its layout.

    Calibration, evaluation and routing all use this form, so that a threshold is tested on the
    very scores it was chosen on.
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
    """Run every image through every exit; leaves the model in the mode it was in.

    Args:
        model: network, made `ready`.
        store: images and labels.
        normalisation: of the images.
        context: where the network lies.
        temperatures: of every exit; they change scores, never predictions or logits.
        keep_logits: give the logits as well; fitting temperatures needs them.
        score: what the exit rule tests.
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
    """Run every image to the exit it leaves at, under thresholds in the score's unit, no further.

    Temperatures, one for every exit, change where an image leaves, never what an exit says of it.
    """
    exits, predictions = [], []
    with evaluation_mode(model):
        for batch in evaluation_batches(store, normalisation, context):
            with context.autocast():
                routed = route(model, batch.images, thresholds, temperatures, score)
            exits.append(routed.exit.cpu())
            predictions.append(routed.logits.argmax(dim=-1).cpu())
    return RoutedAnswers(torch.cat(exits).numpy(), torch.cat(predictions).numpy())
