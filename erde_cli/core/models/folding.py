"""A network made ready for inference: norms that follow a convolution become part of it."""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from erde_cli.core.models.early_exit import EarlyExitNet


def folded(model: EarlyExitNet) -> EarlyExitNet:
    """Copy of a network, in evaluation mode, with the same answers up to rounding and fewer steps.

    Only norms right after a convolution can be folded; those that begin a head or a preactivation
    block stay.
    """
    model = copy.deepcopy(model).eval()
    for module in list(model.modules()):
        for convolution, norm in _pairs(module):
            fused = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
            setattr(module, convolution, fused)
            setattr(module, norm, nn.Identity().eval())
    return model


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    """Names of the convolutions in a module, each with that of the norm which follows it.

    A block with a forward pass of its own names them in its attribute `folds`.
    """
    if not isinstance(module, nn.Sequential):
        return list(getattr(module, "folds", ()))
    return [
        (first, second)
        for (first, one), (second, other) in pairwise(module.named_children())
        if isinstance(one, nn.Conv2d) and isinstance(other, nn.BatchNorm2d)
    ]
