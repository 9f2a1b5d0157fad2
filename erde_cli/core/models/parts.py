"""The parts of a network that starts from first weights: what is new, and the stage of the rest."""

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


def pretrained_stages(model: EarlyExitNet, *, last_kept: bool = False) -> dict[nn.Module, int]:
    """The stage, from 0, of every module that first weights reach.

    The layers of the last head before its last linear layer belong to the last stage.

    Args:
        model: the network.
        last_kept: whether the last linear layer comes from the weights too.
    """
    stages = {
        module: number for number, stage in enumerate(model.stages) for module in stage.modules()
    }
    last = dict.fromkeys(model.heads[-1].modules(), len(model.stages) - 1)
    new = {module for part in new_parts(model, last_kept=last_kept) for module in part.modules()}
    return {module: stage for module, stage in {**stages, **last}.items() if module not in new}
