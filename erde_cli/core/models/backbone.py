"""What every backbone is made of, and how its weights begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@dataclass(frozen=True)
class Backbone:
    """Blocks in a row, which can be cut after each of them, and the network's own classifier.

    What leaves a block is [batch, channels, side, side]. `preactivated` says that blocks end before
    a norm and a ReLU, so a head must begin with them.
    """

    blocks: list[nn.Module]
    classifier: nn.Module
    preactivated: bool = False


@runtime_checkable
class Fitted(Protocol):
    """A layer that is fitted to train images before the first step, as one that whitens them."""

    def fit(self, images: Tensor) -> None:
        """Choose its weights by normalised images, float32 [n, 3, height, width], on the CPU."""


def fitted_layers(model: nn.Module) -> list[Fitted]:
    """The layers of a network that are fitted to train images before its first step."""
    return [layer for layer in model.modules() if isinstance(layer, Fitted)]


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
