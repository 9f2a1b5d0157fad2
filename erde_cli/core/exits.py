"""The one exit rule, and the routing of a batch through the stages.

An image leaves at the first exit whose score, the entropy of its softmax in nats, is below that
exit's threshold (strictly). The last exit has no threshold. The rule sees logits only: labels
cannot change an exit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erde_cli.core.entropy import softmax_entropy
from erde_cli.core.models import EarlyExitNet


@dataclass(frozen=True)
class Routed:
    """What left, and where: logits [batch, classes], exit [batch] int64, score [batch] nats."""

    logits: Tensor
    exit: Tensor
    score: Tensor


def first_exit(scores: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Index of the exit each image leaves at, int64 [batch].

    Args:
        scores: entropies in nats, [batch, exits].
        thresholds: θ of the early exits in nats, `exits - 1` of them; 0 never, inf always.
    """
    if len(thresholds) != scores.shape[1] - 1:
        raise ValueError(f"{scores.shape[1] - 1} thresholds expected, got {len(thresholds)}")
    limits = torch.tensor([*thresholds, math.inf], dtype=torch.float64, device=scores.device)
    leaves = scores.double() < limits
    leaves[:, -1] = True
    return leaves.int().argmax(dim=1)


@torch.inference_mode()
def route(model: EarlyExitNet, images: Tensor, thresholds: Sequence[float]) -> Routed:
    """Run a batch stage by stage, and drop the images that have left.

    Equal to `first_exit` on the full forward pass, at the cost of the stages that are needed.

    Args:
        model: network in evaluation mode.
        images: normalised, [batch, 3, height, width].
        thresholds: θ of the early exits in nats.
    """
    if len(thresholds) != model.exit_count - 1:
        raise ValueError(f"{model.exit_count - 1} thresholds expected, got {len(thresholds)}")
    batch = images.shape[0]
    waiting = torch.arange(batch, device=images.device)
    logits = torch.zeros(batch, model.classes, device=images.device)
    exits = torch.zeros(batch, dtype=torch.int64, device=images.device)
    scores = torch.zeros(batch, device=images.device)
    features = images
    for index, (stage, head) in enumerate(zip(model.stages, model.heads, strict=True)):
        if waiting.numel() == 0:
            break
        features = stage(features)
        answers = head(features).float()
        entropy = softmax_entropy(answers)
        last = index == model.exit_count - 1
        limit = math.inf if last else thresholds[index]
        leaves = torch.ones_like(waiting, dtype=torch.bool) if last else entropy.double() < limit
        left = waiting[leaves]
        logits[left], exits[left], scores[left] = answers[leaves], index, entropy[leaves]
        waiting, features = waiting[~leaves], features[~leaves]
    return Routed(logits, exits, scores)
