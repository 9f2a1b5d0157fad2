"""Softmax entropy in nats: the one score, used by the loss and by the exit rule."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def softmax_entropy(logits: Tensor) -> Tensor:
    """Entropy H(softmax(logits)) in nats, float32 [...], from 0 (sure) to ln K (fully unsure).

    Args:
        logits: [..., classes], any floating type; computed in float32.
    """
    log_probabilities = torch.log_softmax(logits.float(), dim=-1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1)


def largest_entropy(classes: int) -> float:
    """Entropy in nats of the uniform distribution over `classes`: ln K."""
    return math.log(classes)
