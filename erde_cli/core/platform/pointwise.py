"""Workaround for a oneDNN kernel that corrupts memory when it trains strided 1x1 convolutions.

In channels last, oneDNN 3.12 writes outside its memory in the backward pass of a strided 1x1
convolution with fewer input channels than a vector register holds floats (8 with AVX2, 16 with
AVX512). Gradients are silently wrong, the process crashes, or a step never ends.

Source: github.com/uxlfoundation/oneDNN, issue 6035.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def guard_pointwise(module: nn.Module) -> None:
    """Make every strided 1x1 convolution of a module train with a correct kernel.

    Parameters, their names and outputs do not change. Subclasses of `nn.Conv2d` are left alone.
    """
    for layer in module.modules():
        if type(layer) is not nn.Conv2d or set(layer.kernel_size) != {1}:
            continue
        if set(layer.stride) != {1} and layer.padding in ((0, 0), "valid"):
            layer.__class__ = _StridedPointwise


class _StridedPointwise(nn.Conv2d):
    """A 1x1 convolution that selects its pixels first, then convolves them with stride 1."""

    def forward(self, features: Tensor) -> Tensor:
        """[batch, inputs, h, w] → [batch, outputs, ceil(h / stride), ceil(w / stride)]."""
        trains = self.weight.requires_grad and torch.is_grad_enabled()
        if not trains or features.device.type != "cpu":
            return super().forward(features)  # only the gradient of the weights is affected
        rows, columns = self.stride
        if torch.compiler.is_compiling():
            pixels = features[..., ::rows, ::columns]
        else:
            pixels = _SelectPixels.apply(features, rows, columns)  # type: ignore[no-untyped-call]
        return F.conv2d(pixels, self.weight, self.bias, groups=self.groups)


class _SelectPixels(torch.autograd.Function):
    """`features[..., ::rows, ::columns]` with a faster backward pass.

    The built-in one fills two tensors in turn, which took 3 to 20 % of a training step. The cost
    of this one was not measurable.
    """

    @staticmethod
    def forward(context: Any, features: Tensor, rows: int, columns: int) -> Tensor:
        context.shape, context.steps = features.shape, (rows, columns)
        # Copy even if all pixels are selected: a slice of one row keeps strides that oneDNN
        # misreads (github.com/pytorch/pytorch, issue 195394), and `contiguous` keeps them too.
        return features[..., ::rows, ::columns].clone(memory_format=torch.channels_last)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        rows, columns = context.steps
        last = torch.channels_last
        whole = torch.empty(
            context.shape, dtype=gradient.dtype, device=gradient.device, memory_format=last
        )
        whole.zero_()[..., ::rows, ::columns] = gradient
        return whole, None, None
