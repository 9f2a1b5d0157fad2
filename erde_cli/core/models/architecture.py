"""The description of a network, and the network built from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from itertools import accumulate, pairwise
from typing import Any, Literal

import torch
from torch import nn

from erde_cli.core.errors import InputError, UnsupportedOperatorError
from erde_cli.core.models.backbone import Backbone
from erde_cli.core.models.early_exit import EarlyExitNet, evaluation_mode
from erde_cli.core.models.heads import StageOutput
from erde_cli.core.models.library.chains import head_input, library_backbone
from erde_cli.core.models.library.kind import LibraryBackbone
from erde_cli.core.models.library.networks import WeightsOnMeta
from erde_cli.core.models.library.packages import package_backbone
from erde_cli.core.models.library.shapes import count_shapes
from erde_cli.core.models.macs import count_macs
from erde_cli.core.recipe.backbones import FAMILIES, is_library_backbone
from erde_cli.core.recipe.heads import HEADS
from erde_cli.core.recipe.packages import package_of
from erde_cli.core.recipe.sections.network import Network

_LARGEST_FEATURES = 2**28  # values per image after the first convolution; a gigabyte
_WIDEST = 128  # channels of the widest stem of a library


@dataclass(frozen=True)
class Architecture:
    """Everything that determines a network except its weights. Keys are those of a recipe.

    cuts: numbers of the blocks before the early exits, from 1. stem: None means `width`.
    """

    backbone: str
    depth: int | None
    width: int | None
    cuts: tuple[int, ...]
    head: str
    classes: int
    image_size: int
    widening: int = 1
    stem: int | Literal["small"] | None = None
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
    """Describe the network of a recipe. A number of exits becomes cuts evenly spaced in MACs."""
    cuts = network.exits
    uncut = Architecture(
        backbone=network.backbone, depth=network.depth, width=network.channels, cuts=(),
        head=network.head, classes=classes, image_size=image_size, widening=network.widening,
        stem=network.stem, dropout=network.dropout, stem_stride=network.stem_stride,
        head_dropout=network.head_dropout,
    )  # fmt: skip
    if isinstance(cuts, int):
        cuts = _even_cuts(uncut, cuts)
    return replace(uncut, cuts=tuple(cuts))


def build_model(architecture: Architecture, seed: int = 0) -> EarlyExitNet:
    """Build a network with new weights that depend on `seed` only.

    Raises:
        InputError: the backbone or head is unknown, a cut lies outside the backbone, a head does
            not fit, or the features of one image would fill the memory.
    """
    _refuse_giants(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build(architecture)


def _refuse_giants(architecture: Architecture) -> None:
    """A stem has few weights for its features, so a small bundle could require any memory."""
    stem = architecture.stem if isinstance(architecture.stem, int) else 1
    channels = max(stem, (architecture.width or _WIDEST) * architecture.widening)
    if channels * architecture.image_size**2 > _LARGEST_FEATURES:
        raise InputError(
            "The features of a single image would fill the memory.",
            got=f"{channels:,} channels of {architecture.image_size} x {architecture.image_size}",
            expected=f"at most {_LARGEST_FEATURES:,} values",
            hint="use a smaller image_size, width, widening or stem",
        )


def _build(architecture: Architecture) -> EarlyExitNet:
    library = is_library_backbone(architecture.backbone)
    if not (library or architecture.backbone in FAMILIES) or architecture.head not in HEADS:
        raise InputError(
            f"This version of erde has no backbone {architecture.backbone!r} "
            f"with heads {architecture.head!r}.",
            expected=f"backbones {', '.join(FAMILIES)}; heads {', '.join(HEADS)}",
            hint="name one of these",
        )
    backbone = _build_backbone(architecture)
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
    for stage in stages[:-1]:
        features = _features(stage, features)
        heads.append(_build_head(architecture, backbone, features))
    return EarlyExitNet(stages, [*heads, backbone.classifier], architecture.classes)


def _build_backbone(architecture: Architecture) -> Backbone:
    if package_of(architecture.backbone):
        return package_backbone(
            architecture.backbone, architecture.classes, architecture.image_size
        )
    if is_library_backbone(architecture.backbone):
        return library_backbone(
            architecture.backbone,
            architecture.classes,
            architecture.image_size,
            small_stem=architecture.stem == "small",
        )
    family, depth = FAMILIES[architecture.backbone], architecture.depth
    if depth is None or depth not in family.blocks or architecture.width is None:
        raise InputError(
            f"There is no {architecture.backbone} of depth {depth}.",
            expected=f"a depth of {family.depths_near(depth or 0)}",
            hint="name one of these",
        )
    options = {
        "stem": architecture.stem or architecture.width,
        "stem_stride": architecture.stem_stride,
        "dropout": architecture.dropout,
    }
    backbone: Backbone = _function(family.builder)(
        depth,
        architecture.width * architecture.widening,
        architecture.classes,
        **{key: value for key, value in options.items() if key in family.keys},
    )
    return backbone


def _build_head(
    architecture: Architecture, backbone: Backbone, features: torch.Tensor
) -> nn.Module:
    """The head of an exit after `features`, of which only the shape is read."""
    head = HEADS[architecture.head]
    dropout = {"dropout": architecture.head_dropout} if head.drops else {}
    if isinstance(backbone, LibraryBackbone):
        layers, output = head_input(backbone, features)
    else:
        channels, side = features.shape[1:3]
        layers, output = [], StageOutput(channels, side, backbone.preactivated)
    built: nn.Module = _function(head.builder)(output, architecture.classes, **dropout)
    return nn.Sequential(*layers, built) if layers else built


def _function(name: str) -> Callable[..., Any]:
    """The builder named "module:function"."""
    module, function = name.split(":")
    builder: Callable[..., Any] = getattr(import_module(module), function)
    return builder


@torch.no_grad()
def _features(stage: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Output of a stage; the statistics of its norms do not change."""
    with evaluation_mode(stage):
        output: torch.Tensor = stage(features)
    return output


def _even_cuts(uncut: Architecture, exits: int) -> list[int]:
    """Numbers of the blocks whose cumulative MACs are nearest to 1/n, 2/n, ... of all MACs.

    Raises:
        InputError: there are fewer blocks than exits.
    """
    cumulative = list(accumulate(_block_macs(uncut)))
    if exits > len(cumulative):
        raise InputError(
            f"{uncut.backbone} has fewer blocks than exits.",
            got=f"exits: {exits}",
            expected=f"at most {len(cumulative)}, one after each block",
            hint="use fewer exits, or a deeper backbone",
        )
    cuts: list[int] = []
    for exit_ in range(1, exits):
        first = cuts[-1] + 1 if cuts else 1
        last = len(cumulative) - (exits - exit_)  # leaves a block for each later exit
        goal = cumulative[-1] * exit_ / exits
        cuts.append(min(range(first, last + 1), key=lambda n: abs(cumulative[n - 1] - goal)))
    return cuts


def _block_macs(uncut: Architecture) -> list[int]:
    """Multiply-adds of each block for one image."""
    if is_library_backbone(uncut.backbone) and not package_of(uncut.backbone):
        try:
            return _block_macs_from_shapes(uncut)
        except UnsupportedOperatorError:
            pass  # the whole network can still be traced
    with torch.random.fork_rng(devices=[]):
        blocks = _build_backbone(uncut).blocks
    features, macs = torch.zeros(1, 3, uncut.image_size, uncut.image_size), []
    for block in blocks:
        macs.append(count_macs(block, features))
        features = _features(block, features)
    return macs


def _block_macs_from_shapes(uncut: Architecture) -> list[int]:
    """The same for a network of a library, whose weights need no memory here."""
    with WeightsOnMeta():
        blocks = _build_backbone(uncut).blocks
    sizes: tuple[int, ...] = (1, 3, uncut.image_size, uncut.image_size)
    macs = []
    for block in blocks:
        spent, sizes = count_shapes(block, sizes)
        macs.append(spent)
    return macs
