"""Strided 1x1 convolutions, kept from a kernel of oneDNN that spoils memory in training.

In channels last, with fewer input channels than a vector register holds numbers (8 with AVX2, 16
with AVX512), oneDNN 3.12 writes outside its memory in the backward pass of a 1x1 convolution with
a stride: gradients are wrong in silence, the process crashes, or a step never ends.

Source: github.com/uxlfoundation/oneDNN, issue 6035.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def guard_pointwise(module: nn.Module) -> None:
    """Let every strided 1x1 convolution of a module train by a kernel that is right.

    Parameters, names and answers stay. A convolution of another class than `nn.Conv2d` is left as
    it is.
    """
    for layer in module.modules():
        if type(layer) is not nn.Conv2d or set(layer.kernel_size) != {1}:
            continue
        if set(layer.stride) != {1} and layer.padding in ((0, 0), "valid"):
            layer.__class__ = _StridedPointwise


class _StridedPointwise(nn.Conv2d):
    """A 1x1 convolution that takes its pixels first, then convolves them with stride 1."""

    def forward(self, features: Tensor) -> Tensor:
        """[batch, inputs, h, w] → [batch, outputs, ceil(h / stride), ceil(w / stride)]."""
        trains = self.weight.requires_grad and torch.is_grad_enabled()
        if not trains or features.device.type != "cpu":
            return super().forward(features)  # only the gradient of the weights is wrong
        rows, columns = self.stride
        if torch.compiler.is_compiling():
            taken = features[..., ::rows, ::columns]
        else:
            taken = _TakePixels.apply(features, rows, columns)  # type: ignore[no-untyped-call]
        return F.conv2d(taken, self.weight, self.bias, groups=self.groups)


class _TakePixels(torch.autograd.Function):
    """`features[..., ::rows, ::columns]`, whose own backward pass fills two tensors, one by one.

    That cost 3 to 20 % of a training step; this costs nothing that could be measured.
    """

    @staticmethod
    def forward(context: Any, features: Tensor, rows: int, columns: int) -> Tensor:
        context.shape, context.steps = features.shape, (rows, columns)
        # A copy even where all pixels are taken: a slice of one line keeps strides that oneDNN
        # reads wrongly (github.com/pytorch/pytorch, issue 195394), and `contiguous` leaves them.
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
