"""Workaround for a oneDNN kernel that returns memory it never wrote as a gradient of weights.

With AVX512, oneDNN 3.12 computes this gradient wrongly in bfloat16 if a padded convolution has a
stride larger than the width of its images, such as a 3x3 or 5x5 with stride 2 on 1x1 images, with
or without groups. Values up to 1e32 appear; they differ between runs.

Source: measured (`python -m tests.gradients --unguarded --precision bfloat16`); no report of it was
found. github.com/pytorch/pytorch, issue 169688, is about the same shapes in Conv3d, forward.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def guard_narrow(module: nn.Module) -> None:
    """Make strided convolutions of a module train with a correct kernel on narrow images.

    Parameters, their names and outputs do not change. Subclasses of `nn.Conv2d` are left alone, and
    so are convolutions padded by half their kernel or more, as 3x3 by 2: no smaller stride computes
    the same function.
    """
    for layer in module.modules():
        if type(layer) is not nn.Conv2d or isinstance(layer.padding, str):
            continue
        zeros = layer.padding_mode == "zeros" and 0 < 2 * layer.padding[1] < layer.kernel_size[1]
        if zeros and layer.stride[1] > 1:
            layer.__class__ = _Strided


class _Strided(nn.Conv2d):
    """A convolution whose stride is at most the width of its images.

    On images narrower than the stride, all outputs are in one column, at either stride.
    """

    def forward(self, features: Tensor) -> Tensor:
        """[batch, inputs, h, w] → [batch, outputs, …, 1 if w < stride]."""
        width = features.shape[-1]
        trains = self.weight.requires_grad and torch.is_grad_enabled()
        if not trains or width >= self.stride[1]:
            return super().forward(features)
        stride = (self.stride[0], width)
        return F.conv2d(
            features, self.weight, self.bias, stride, self.padding, self.dilation, self.groups
        )
