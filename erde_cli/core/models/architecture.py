"""From a description of a network to the network itself, always in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from erde_cli.core.errors import InputError
from erde_cli.core.models.airbench import airbench
from erde_cli.core.models.backbone import Backbone
from erde_cli.core.models.early_exit import EarlyExitNet, evaluation_mode
from erde_cli.core.models.heads import erde_head, gap_head
from erde_cli.core.models.macs import count_macs
from erde_cli.core.models.resnet import resnet
from erde_cli.core.models.vgg import vgg
from erde_cli.core.models.wrn import wrn
from erde_cli.core.recipe.sections.network import Network

_BACKBONES: dict[str, Callable[[Architecture], Backbone]] = {
    "resnet": lambda a: resnet(
        a.depth, a.width * a.widening, a.classes, a.stem or a.width, a.stem_stride
    ),
    "wrn": lambda a: wrn(a.depth, a.width * a.widening, a.classes, a.stem or a.width, a.dropout),
    "vgg": lambda a: vgg(a.depth, a.width, a.classes),
    "airbench": lambda a: airbench(a.depth, a.width, a.classes),
}
_HEADS = ("erde", "gap")
_LARGEST_FEATURES = 2**28  # numbers of one image after the first convolution; a gigabyte


@dataclass(frozen=True)
class Architecture:
    """Everything that decides a network but its weights; as in a recipe, with nothing left open.

    `cuts` are block numbers from 1; `stem` None stands for `width`.
    """

    backbone: str
    depth: int
    width: int
    cuts: tuple[int, ...]
    head: str
    classes: int
    image_size: int
    widening: int = 1
    stem: int | None = None
    dropout: float = 0.0
    stem_stride: int = 1
    head_dropout: float = 0.5

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return len(self.cuts) + 1

    def to_json(self) -> dict[str, Any]:
        """Form in `bundle.json`."""
        return {**asdict(self), "cuts": list(self.cuts)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Architecture:
        """Read the form in `bundle.json`."""
        return cls(**{**document, "cuts": tuple(document["cuts"])})


def resolve_architecture(network: Network, classes: int, image_size: int) -> Architecture:
    """Describe the network of a recipe; a number of exits becomes cuts evenly spaced in MACs."""
    cuts = network.exits
    uncut = Architecture(
        backbone=network.backbone,
        depth=network.depth,
        width=network.channels,
        cuts=(),
        head=network.head,
        classes=classes,
        image_size=image_size,
        widening=network.widening,
        stem=network.stem,
        dropout=network.dropout,
        stem_stride=network.stem_stride,
        head_dropout=network.head_dropout,
    )
    if isinstance(cuts, int):
        cuts = _even_cuts(uncut, cuts)
    return replace(uncut, cuts=tuple(cuts))


def build_model(architecture: Architecture, seed: int = 0) -> EarlyExitNet:
    """Build a network with fresh weights, which `seed` alone decides.

    Raises:
        InputError: a cut lies outside the backbone, a head does not fit, or the features of one
            image would fill the memory.
    """
    _refuse_giants(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build(architecture)


def _refuse_giants(architecture: Architecture) -> None:
    """A stem has few weights, however many channels: a small file could ask for any memory."""
    channels = max(architecture.stem or 1, architecture.width * architecture.widening)
    numbers = channels * architecture.image_size**2
    if numbers > _LARGEST_FEATURES:
        raise InputError(
            "The features of a single image would fill the memory.",
            got=f"{channels:,} channels of {architecture.image_size} x {architecture.image_size}",
            expected=f"at most {_LARGEST_FEATURES:,} numbers",
            hint="use a smaller image_size, width, widening or stem",
        )


def _build(architecture: Architecture) -> EarlyExitNet:
    classes = architecture.classes
    make_backbone = _BACKBONES.get(architecture.backbone)
    if make_backbone is None or architecture.head not in _HEADS:
        raise InputError(
            f"This version of erde has no backbone {architecture.backbone!r} "
            f"with heads {architecture.head!r}.",
            expected=f"backbones {', '.join(_BACKBONES)}; heads {', '.join(_HEADS)}",
            hint="name one of those",
        )
    backbone = make_backbone(architecture)
    bounds = [0, *architecture.cuts, len(backbone.blocks)]
    pairs = list(pairwise(bounds))
    if any(start >= end for start, end in pairs):
        raise InputError(
            f"Exits after blocks {list(architecture.cuts)} do not fit this backbone.",
            expected=f"rising block numbers from 1 to {len(backbone.blocks) - 1}",
            hint="cut after other blocks",
        )
    stages = [nn.Sequential(*backbone.blocks[start:end]) for start, end in pairs]
    heads: list[nn.Module] = []
    size = architecture.image_size
    features = torch.zeros(1, 3, size, size)
    for stage, end in zip(stages[:-1], architecture.cuts, strict=True):
        features = _features(stage, features)
        channels = backbone.channels[end - 1]
        if architecture.head == "gap":
            heads.append(gap_head(channels, backbone.preactivated, classes))
        else:
            side = features.shape[-1]
            heads.append(erde_head(channels, side, classes, architecture.head_dropout))
    return EarlyExitNet(stages, [*heads, backbone.classifier], classes)


@torch.no_grad()
def _features(stage: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Output of a stage, without touching the statistics of its norms."""
    with evaluation_mode(stage):
        output: torch.Tensor = stage(features)
    return output


def _even_cuts(uncut: Architecture, exits: int) -> list[int]:
    """Cut after the blocks whose cumulative MACs lie nearest to 1/n, 2/n, ... of the whole."""
    with torch.random.fork_rng(devices=[]):
        blocks = _BACKBONES[uncut.backbone](uncut).blocks
    image_size = uncut.image_size
    features, spent, cumulative = torch.zeros(1, 3, image_size, image_size), 0, []
    for block in blocks:
        spent += count_macs(block, features)
        cumulative.append(spent)
        features = _features(block, features)
    cuts: list[int] = []
    for exit_ in range(1, exits):
        first = cuts[-1] + 1 if cuts else 1
        last = len(blocks) - (exits - exit_)  # leaves a block for each exit to come
        goal = spent * exit_ / exits
        cuts.append(min(range(first, last + 1), key=lambda n: abs(cumulative[n - 1] - goal)))
    return cuts
