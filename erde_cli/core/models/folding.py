"""Folding of norms into the convolutions before them, for inference."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

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
            first, second = getattr(module, convolution), getattr(module, norm)
            setattr(module, convolution, fuse_conv_bn_eval(first, second))
            setattr(module, norm, _after(second).eval())
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
    names = getattr(module, "folds", ())
    if isinstance(module, nn.Sequential):
        names = pairwise(name for name, _ in module.named_children())
    return [
        (first, second)
        for first, second in names
        if isinstance(getattr(module, first, None), nn.Conv2d)
        and type(getattr(module, second)).__name__ in ("BatchNorm2d", "BatchNormAct2d")
    ]


def _after(norm: Any) -> nn.Module:
    """What a norm does after normalising: timm's `BatchNormAct2d` ends with an activation."""
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    after: nn.Module = norm.act
    return after if isinstance(norm.drop, nn.Identity) else nn.Sequential(norm.drop, after)
