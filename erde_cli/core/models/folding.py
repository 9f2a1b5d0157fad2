"""Folding of norms into the convolutions before them, for inference."""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.layers import Dropout


def folded(model: EarlyExitNet) -> EarlyExitNet:
    """Copy of a network in evaluation mode, with fewer layers and equal logits up to rounding.

    Only a norm directly after a convolution can be folded. Norms that begin a head or a
    preactivation block stay. Layers of heads that do nothing after training are removed: at batch 1
    the call alone takes a few microseconds, as long as a small layer.
    """
    model = copy.deepcopy(model).eval()
    for module in list(model.modules()):
        for convolution, norm in _pairs(module):
            fused = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
            setattr(module, convolution, fused)
            setattr(module, norm, nn.Identity().eval())
    for head in model.heads:
        if type(head) is nn.Sequential:
            for name, layer in list(head.named_children()):
                if isinstance(layer, nn.Identity | nn.Dropout | Dropout):
                    delattr(head, name)
    return model


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    """Names of each convolution of a module and the norm that follows it.

    A block with its own forward pass names them in its attribute `folds`.
    """
    if not isinstance(module, nn.Sequential):
        return list(getattr(module, "folds", ()))
    return [
        (first, second)
        for (first, one), (second, other) in pairwise(module.named_children())
        if isinstance(one, nn.Conv2d)
        and type(other) is nn.BatchNorm2d  # others may have an activation
    ]
