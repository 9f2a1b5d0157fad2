"""A network made ready for inference: norms that follow a convolution become part of it."""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.resnet import BasicBlock
from erde_cli.core.models.wrn import PreactivationBlock

# In a preactivation block the second norm is what follows the first convolution.
_PAIRS: dict[type[nn.Module], tuple[tuple[str, str], ...]] = {
    BasicBlock: (("conv1", "norm1"), ("conv2", "norm2")),
    PreactivationBlock: (("conv1", "norm2"),),
}


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
    """Names of the convolutions in a module, each with that of the norm which follows it."""
    if not isinstance(module, nn.Sequential):
        return list(_PAIRS.get(type(module), ()))
    return [
        (first, second)
        for (first, one), (second, other) in pairwise(module.named_children())
        if isinstance(one, nn.Conv2d) and isinstance(other, nn.BatchNorm2d)
    ]
