"""The parts that all backbones share, and the initial weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@dataclass(frozen=True)
class Backbone:
    """A chain of blocks that can be cut after each, and the network's last classifier.

    A block's output is [batch, channels, side, side]. preactivated: blocks end before a norm and a
    ReLU, so that a head must begin with them.
    """

    blocks: list[nn.Module]
    classifier: nn.Module
    preactivated: bool = False


@runtime_checkable
class Fitted(Protocol):
    """A layer that is fitted to train images before the first step, such as a whitening layer."""

    def fit(self, images: Tensor) -> None:
        """Set its weights from normalised images, float32 [n, 3, height, width], on the CPU."""


def fitted_layers(model: nn.Module) -> list[Fitted]:
    """The layers of a network that are fitted to train images before its first step."""
    return [layer for layer in model.modules() if isinstance(layer, Fitted)]


def pooled_classifier(channels: int, classes: int) -> nn.Sequential:
    """Global average pooling and one linear layer: [batch, channels, h, w] → [batch, classes]."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def normalised(channels: int) -> list[nn.Module]:
    """A norm and a ReLU."""
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def initialise(modules: list[nn.Module]) -> None:
    """Draw the weights of convolutions at random, with variance 2 / fan out; set biases to 0.

    Source: He et al., "Delving deep into rectifiers", ICCV 2015, section 2.2, backward case.
    """
    for module in nn.ModuleList(modules).modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # meta has no values
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
