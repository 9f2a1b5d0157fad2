"""The parts of a network that pretrained weights leave new."""

from __future__ import annotations

from torch import nn

from erde_cli.core.models.early_exit import EarlyExitNet


def last_linear(model: EarlyExitNet) -> nn.Linear:
    """The last linear layer of the last exit, which gives the logits."""
    *_, last = (layer for layer in model.heads[-1].modules() if isinstance(layer, nn.Linear))
    return last


def new_parts(model: EarlyExitNet, *, last_kept: bool = False) -> list[nn.Module]:
    """The modules that first weights do not reach: early heads, and the last linear layer.

    Args:
        model: the network.
        last_kept: whether the last linear layer comes from the weights too.
    """
    early = list(model.heads[:-1])
    return early if last_kept else [*early, last_linear(model)]
