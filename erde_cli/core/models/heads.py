"""Classifiers that turn the features of a stage into logits."""

from __future__ import annotations

from torch import nn

from erde_cli.core.errors import InputError


def erde_head(channels: int, side: int, classes: int) -> nn.Module:
    """Head of the paper: BatchNorm, ReLU, 2x2 average pooling, Dropout 0.5, one linear layer.

    Args:
        channels: channels of the features, [batch, channels, side, side].
        side: height and width of the features, 2 or more.
        classes: number of classes.

    Raises:
        InputError: the features are too small to pool.
    """
    if side < 2:
        raise InputError(
            "The head 'erde' pools 2x2, but the features of this exit are 1x1.",
            expected="features of 2x2 or more",
            hint="use a larger data.image_size, an earlier exit, or head: gap",
        )
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(channels * (side // 2) ** 2, classes),
    )


def gap_head(channels: int, side: int, classes: int) -> nn.Module:
    """Global average pooling and one linear layer; `side` does not matter."""
    del side
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
