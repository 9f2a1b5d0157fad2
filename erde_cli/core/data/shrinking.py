"""Smaller copies of training views, for a student that sees smaller images than its teacher."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

_FILTER: dict[str, Any] = {"mode": "bilinear", "antialias": True}


def shrunk(images: Tensor, side: int) -> Tensor:
    """Smaller copies of images, antialiased, uint8 [batch, side, side, 3].

    The filter is Pillow's bilinear one, which also resizes files. A copy depends on its image
    alone, not on the batch. On an accelerator a few pixels differ by a level from those on a CPU.

    Args:
        images: uint8 [batch, height, width, 3].
        side: of the copies, in pixels.
    """
    planes = images.permute(0, 3, 1, 2)
    if images.device.type == "cpu":
        # In integers, on channels-last planes: several times as fast as in float32.
        small = F.interpolate(planes, size=(side, side), **_FILTER)
    else:
        small = _in_floats(planes, side)
    return small.permute(0, 2, 3, 1).contiguous()


def _in_floats(planes: Tensor, side: int) -> Tensor:
    """The same, where integers are not resized: two passes, each with its halves rounded up."""
    rows = F.interpolate(planes.float(), size=(planes.shape[2], side), **_FILTER)
    small = F.interpolate((rows + 0.5).floor(), size=(side, side), **_FILTER)
    return (small + 0.5).floor().to(planes.dtype)
