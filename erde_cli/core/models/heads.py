"""Classifiers that turn the features of a stage into logits."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from erde_cli.core.errors import InputError
from erde_cli.core.models.backbone import normalised, pooled_classifier
from erde_cli.core.models.layers import Dropout, HalvingPool


@dataclass(frozen=True)
class StageOutput:
    """Shape of a stage's output, [batch, channels, side, side].

    preactivated: a norm and a ReLU are still missing, so that a head must begin with them.
    pooled: the side is 1 by design, as of a class token, so that a head does not pool.
    """

    channels: int
    side: int
    preactivated: bool
    pooled: bool = False


def erde_head(features: StageOutput, classes: int, dropout: float) -> nn.Module:
    """Head of the paper: BatchNorm, ReLU, 2x2 average pooling, dropout, one linear layer.

    It begins with the norm that preactivated backbones leave out.

    Args:
        features: shape of the stage's output, with a side of 2 or more.
        classes: number of classes.
        dropout: share of features dropped in training; 0.5 in the paper.

    Raises:
        InputError: the features are too small to pool.

    Source: arXiv 2510.04856, according to summaries of it (docs/method.md).
    """
    if features.side < 2 and not features.pooled:
        raise InputError(
            "The head 'erde' pools 2x2, but the features of this exit are 1x1.",
            expected="features of 2x2 or more",
            hint="use a larger image_size, an earlier exit, or head: gap",
        )
    side = 1 if features.pooled else features.side // 2
    return nn.Sequential(
        *normalised(features.channels),
        nn.Identity() if features.pooled else HalvingPool(),
        nn.Flatten(),
        Dropout(dropout) if dropout else nn.Identity(),
        nn.Linear(features.channels * side**2, classes),
    )


def gap_head(features: StageOutput, classes: int) -> nn.Module:
    """Global average pooling and one linear layer; norm and ReLU first if they are missing."""
    missing = normalised(features.channels) if features.preactivated else []
    return nn.Sequential(*missing, *pooled_classifier(features.channels, classes))
