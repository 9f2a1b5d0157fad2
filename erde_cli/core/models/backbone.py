"""What every backbone is made of, and how its weights begin."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from erde_cli.core.errors import InputError


@dataclass(frozen=True)
class Backbone:
    """Blocks in a row, the channels after each, and the network's own classifier.

    `preactivated` says that blocks end before a norm and a ReLU, so a head must begin with them.
    """

    blocks: list[nn.Module]
    channels: list[int]
    classifier: nn.Module
    preactivated: bool = False


def pooled_classifier(channels: int, classes: int) -> nn.Sequential:
    """Global average pooling and one linear layer: [batch, channels, h, w] → [batch, classes]."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def normalised(channels: int) -> list[nn.Module]:
    """The norm and the ReLU that a preactivated backbone leaves to whatever comes next."""
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def initialise(modules: list[nn.Module]) -> None:
    """Draw the convolutions as He et al. (ICCV 2015, fan out) do; their biases begin at 0."""
    for module in nn.ModuleList(modules).modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # those hold no numbers
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def blocks_per_third(name: str, depth: int, beside: int) -> int:
    """Blocks in each third of a residual network of 6n layers and some `beside` them: n.

    Raises:
        InputError: there is none of that depth.
    """
    count, rest = divmod(depth - beside, 6)
    if rest or count < 1:
        raise InputError(
            f"There is no {name}-{depth}.",
            expected=f"a depth of 6n + {beside}, such as {6 + beside} or {12 + beside}",
            hint="name one of those",
        )
    return count
