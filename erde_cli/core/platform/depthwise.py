"""Faster gradients of depthwise convolutions in bfloat16 on CPUs.

oneDNN 3.12 has fast kernels for the gradient of the weights only up to a kernel width of 3, and for
that of the images only with stride 1. Others are computed as if each channel were a dense group,
which took 2 to 25 times as long (EfficientNet, MobileNet, ConvNeXt; docs/speed.md). In float32 the
gain is small, so those gradients are left to torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_FAST_WIDTH = 3  # of a kernel, for the gradient of the weights
_LAST = torch.channels_last


def speed_up_depthwise(module: nn.Module) -> None:
    """Give every slow depthwise convolution of a module faster gradients in bfloat16.

    Parameters, their names and outputs do not change. Of the subclasses of `nn.Conv2d`, only timm's
    `Conv2dSame` is changed.
    """
    for layer in module.modules():
        if not isinstance(layer, nn.Conv2d) or not _slow(layer):
            continue
        if type(layer) is nn.Conv2d:
            layer.__class__ = _Depthwise
        elif type(layer).__name__ == "Conv2dSame":
            layer.__class__ = _PaddedDepthwise


def _slow(layer: nn.Conv2d) -> bool:
    plain = layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    if not plain or not layer.groups == layer.in_channels == layer.out_channels > 1:
        return False
    if isinstance(layer.padding, str) or any(
        padding >= side for padding, side in zip(layer.padding, layer.kernel_size, strict=True)
    ):
        return False
    return layer.kernel_size[1] > _FAST_WIDTH or layer.stride != (1, 1)


class _Depthwise(nn.Conv2d):
    def forward(self, features: Tensor) -> Tensor:
        """[batch, channels, h, w] → the same as `nn.Conv2d`."""
        return _convolve(self, features, self.padding)


class _PaddedDepthwise(nn.Conv2d):
    """timm's `Conv2dSame`: as many pixels of padding as give ceil(side / stride) outputs."""

    def forward(self, features: Tensor) -> Tensor:
        """[batch, channels, h, w] → [batch, channels, ceil(h / stride), ceil(w / stride)]."""
        sides = []
        for side, kernel, stride in zip(
            reversed(features.shape[-2:]),
            reversed(self.kernel_size),
            reversed(self.stride),
            strict=True,
        ):
            missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            sides += [missing // 2, missing - missing // 2]
        return _convolve(self, F.pad(features, sides), (0, 0))


def _convolve(layer: nn.Conv2d, features: Tensor, padding: Any) -> Tensor:
    weight, bias = layer.weight, layer.bias
    trains = torch.is_grad_enabled() and (weight.requires_grad or features.requires_grad)
    if (
        not trains
        or features.device.type != "cpu"
        or features.dim() != 4
        or torch.compiler.is_compiling()
        or _computed_in(features) != torch.bfloat16
    ):
        return F.conv2d(features, weight, bias, layer.stride, padding, groups=layer.groups)
    outputs: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
        features.to(torch.bfloat16),
        weight.to(torch.bfloat16),
        None if bias is None else bias.to(torch.bfloat16),
        layer.stride,
        padding,
    )
    return outputs


def _computed_in(features: Tensor) -> torch.dtype:
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return features.dtype


class _Convolution(torch.autograd.Function):
    """A depthwise convolution whose gradients use only the fast kernels."""

    @staticmethod
    def forward(
        context: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: Any,
    ) -> Tensor:
        context.save_for_backward(features, weight)
        context.stride, context.padding = stride, padding
        return F.conv2d(features, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight = context.saved_tensors
        of_features, of_weight, of_bias = context.needs_input_grad[:3]
        given: tuple[Tensor, Tensor, Tensor, Any, Any] = (
            gradient.contiguous(memory_format=_LAST),
            features,
            weight,
            context.stride,
            context.padding,
        )
        return (
            _gradient_of_features(*given) if of_features else None,
            _gradient_of_weight(*given) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
            None,
            None,
        )


def _gradient_of_features(
    gradient: Tensor, features: Tensor, weight: Tensor, stride: Any, padding: Any
) -> Tensor:
    """With a stride: of stride 1, where the outputs left out have a gradient of 0."""
    if stride == (1, 1):
        given = (gradient, features, weight, stride, padding)
        of_features: Tensor = _torch_gradients(*given, (True, False))[0]
        return of_features
    sides = [
        side + 2 * pixels - kernel + 1
        for side, pixels, kernel in zip(
            features.shape[-2:], padding, weight.shape[-2:], strict=True
        )
    ]
    whole = torch.empty(
        (*features.shape[:2], *sides), dtype=gradient.dtype, memory_format=_LAST
    ).zero_()
    whole[..., :: stride[0], :: stride[1]] = gradient
    around = [
        kernel - 1 - pixels for kernel, pixels in zip(weight.shape[-2:], padding, strict=True)
    ]
    return F.conv2d(whole, weight.flip(2, 3), padding=around, groups=len(weight))


def _gradient_of_weight(
    gradient: Tensor, features: Tensor, weight: Tensor, stride: Any, padding: Any
) -> Tensor:
    """Of a few columns of the kernel at a time.

    Padding is done here: with its own, oneDNN is slow on small maps, and wrong on some (`narrow`).
    """
    down, across = padding
    padded = F.pad(features, (across, across, down, down))
    reached = (gradient.shape[-1] - 1) * stride[1]
    parts = []
    for first in range(0, weight.shape[-1], _FAST_WIDTH):
        columns = weight[..., first : first + _FAST_WIDTH]
        seen = padded[..., first : first + reached + columns.shape[-1]]
        given = (gradient, seen.contiguous(memory_format=_LAST), columns.contiguous())
        parts.append(_torch_gradients(*given, stride, (0, 0), (False, True))[1])
    return torch.cat(parts, dim=-1)


def _torch_gradients(
    gradient: Tensor,
    features: Tensor,
    weight: Tensor,
    stride: Any,
    padding: Any,
    wanted: tuple[bool, bool],
) -> Any:
    return torch.ops.aten.convolution_backward(
        gradient, features, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight),
        (*wanted, False),
    )  # fmt: skip
