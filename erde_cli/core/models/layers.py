"""Layers of the heads that train faster on a CPU than torch's own, with the same meaning.

In a ResNet-8 with two early exits, torch's dropout (which draws one number after the other) and the
backward pass of its average pooling (which is slow where its gradient comes in another memory
layout) took a fifth of a training step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_LEVELS = 256  # one random byte decides on a feature


class Dropout(nn.Module):
    """Zero a share of the features in training and scale up the rest, as `torch.nn.Dropout` does.

    The share is rounded to 1/256. One draw from torch's generator decides the whole mask. A
    compiled network draws its masks by torch's own dropout, which is compiled with the rest.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self._dropped = round(share * _LEVELS)
        self.p = self._dropped / _LEVELS

    def extra_repr(self) -> str:
        """Show the share."""
        return f"p={self.p}"

    def forward(self, features: Tensor) -> Tensor:
        """Any shape, the same shape."""
        ours = features.device.type == "cpu" and not torch.compiler.is_compiling()
        if not (self.training and ours):
            return F.dropout(features, self.p, self.training)
        generator = np.random.Generator(np.random.SFC64(int(torch.randint(2**62, ()))))
        draws = np.frombuffer(generator.bytes(features.numel()), dtype=np.uint8)
        kept = torch.from_numpy(draws >= self._dropped).view(features.shape)
        return features * kept.to(features.dtype).mul_(1 / (1 - self.p))


class HalvingPool(nn.Module):
    """Means of 2x2 pixels, as `torch.nn.AvgPool2d(2)`; an odd last line or column is left out."""

    def forward(self, features: Tensor) -> Tensor:
        """[batch, channels, h, w] → [batch, channels, h // 2, w // 2]."""
        learns = features.requires_grad and torch.is_grad_enabled()
        even = features.shape[2] % 2 == 0 and features.shape[3] % 2 == 0
        last = features.is_contiguous(memory_format=torch.channels_last)
        ours = features.device.type == "cpu" and not torch.compiler.is_compiling()
        if learns and even and last and ours:
            pooled: Tensor = _HalveChannelsLast.apply(features)  # type: ignore[no-untyped-call]
            return pooled
        return F.avg_pool2d(features, 2)


class _HalveChannelsLast(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: Tensor) -> Tensor:
        return F.avg_pool2d(features, 2)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Give each pixel a quarter: first side by side, then whole lines under each other."""
        quarter = (gradient * 0.25).permute(0, 2, 3, 1)
        pairs = torch.cat([quarter, quarter], dim=3)
        batch, height, width, channels = pairs.shape
        lines = pairs.view(batch, height, 1, width * channels)
        twice = torch.cat([lines, lines], dim=2)
        return twice.view(batch, 2 * height, 2 * width, channels // 2).permute(0, 3, 1, 2)
