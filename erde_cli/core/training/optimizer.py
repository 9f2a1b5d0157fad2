"""The optimiser of a training: SGD with momentum, or AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from erde_cli.core.recipe.sections.training import Training

_BETAS = (0.9, 0.999)  # of AdamW
_DECAYED = (nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention)


def make_optimizer(
    model: nn.Module, settings: Training, factors: Mapping[nn.Parameter, float]
) -> tuple[torch.optim.Optimizer, list[float]]:
    """The optimiser of all trained parameters, and the factor of each group's learning rate.

    Args:
        model: the network; parameters that do not require a gradient are left out.
        settings: of the training.
        factors: of the learning rate; parameters that are not in it have 1.
    """
    decayed = _decayed(model)
    by_factor: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            by_factor.setdefault(factors.get(parameter, 1.0), []).append(parameter)
    groups: list[dict[str, Any]] = []
    for parameters in by_factor.values():
        weights = [p for p in parameters if p in decayed]
        others = [p for p in parameters if p not in decayed]
        groups.append({"params": weights, "weight_decay": settings.weight_decay})
        groups.append({"params": others, "weight_decay": 0.0})
    optimizer = (
        _adamw(groups, settings) if settings.optimizer == "adamw" else _sgd(groups, settings)
    )
    return optimizer, [factor for factor in by_factor for _ in range(2)]


def _decayed(model: nn.Module) -> set[nn.Parameter]:
    """Weights of linear layers, convolutions and attention.

    Norms, biases, tokens, positions and the scales of layers are not decayed.
    """
    return {
        parameter
        for module in model.modules()
        if isinstance(module, _DECAYED)
        for name, parameter in module.named_parameters(recurse=False)
        if name.endswith("weight")
    }


# Both are fused: one kernel, and the overflow flag stays on the device.
# The state is complete before the first step, so that checkpoints have one layout.


def _sgd(groups: list[dict[str, Any]], settings: Training) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum."""
    momentum = settings.momentum
    optimizer = torch.optim.SGD(
        groups, settings.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=True
    )
    if momentum > 0:
        # torch's fused step leaves the momentum uninitialised if the first step is skipped.
        for parameter in _parameters(groups):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _adamw(groups: list[dict[str, Any]], settings: Training) -> torch.optim.Optimizer:
    """AdamW.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, arXiv
    1711.05101, algorithm 2.
    """
    optimizer = torch.optim.AdamW(groups, settings.learning_rate, betas=_BETAS, fused=True)
    for parameter in _parameters(groups):
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimizer


def _parameters(groups: list[dict[str, Any]]) -> list[nn.Parameter]:
    return [parameter for group in groups for parameter in group["params"]]
