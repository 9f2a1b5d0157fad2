"""Batch statistics of the images of all processes, by SyncBatchNorm of torch and timm."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

from torch import nn

from erde_cli.core.errors import InputError
from erde_cli.core.models.early_exit import EarlyExitNet

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_OF_TIMM = "timm.layers.norm_act.BatchNormAct2d"  # a norm and its activation


def synchronised(model: EarlyExitNet) -> EarlyExitNet:
    """The network as training steps use it: with synchronised norms, and the same tensors.

    Its modules are copies in the mode that those of the network have now, so make it after each
    change of modes.

    Raises:
        InputError: neither torch nor timm can synchronise a norm of the network.
    """
    norms = {
        type(one) for one in model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)
    }
    others = {f"{kind.__module__}.{kind.__qualname__}" for kind in norms.difference(_PLAIN)}
    if unknown := sorted(others - {_OF_TIMM}):
        raise InputError(
            "The norms of this network cannot be synchronised.",
            got=", ".join(unknown),
            expected="BatchNorm of torch, or BatchNormAct2d of timm",
            hint="set sync_batch_norm: false in the recipe",
        )
    tensors = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    copy = deepcopy(model, tensors)
    convert: Callable[[nn.Module], EarlyExitNet] = nn.SyncBatchNorm.convert_sync_batchnorm
    if others:
        from timm.layers.norm_act import convert_sync_batchnorm as convert
    return convert(copy)
