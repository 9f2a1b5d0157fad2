"""The description of one kind of structure, and the chain that a network of it becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from erde_cli.core.models.backbone import Backbone

Layout = Literal["map", "map_last", "tokens"]


@dataclass(frozen=True)
class LibraryBackbone(Backbone):
    """Blocks in a row and the network's own classifier; the features of all blocks have one layout.

    Attributes:
        layout: "map" is [batch, channels, side, side], "map_last" is [batch, side, side, channels],
            "tokens" is [batch, tokens, channels].
        prefix: number of tokens before those of the patches.
        class_token: whether the first token is a class token, which a head reads. Otherwise a head
            reads the mean of the patches' tokens.
        layer_norm: whether blocks end before a LayerNorm over the channels, with which a head must
            begin.
    """

    layout: Layout = "map"
    prefix: int = 0
    class_token: bool = False
    layer_norm: bool = False


@dataclass(frozen=True)
class Kind:
    """How to cut the networks of one class.

    Attributes:
        cut: makes the chain of a network, which holds the network's own modules.
        last: path of the last linear layer.
        stem: path of the stem's strided convolution, or of the module that begins with it; empty
            if there is none.
        pool: path of the pooling after the stem; empty if there is none.
        sized: name of the constructor's argument for the image size; empty if there is none.
    """

    cut: Callable[[Any], LibraryBackbone]
    last: str
    stem: str = ""
    pool: str = ""
    sized: str = ""


def in_one_block(stem: Iterable[nn.Module], blocks: Iterable[nn.Module]) -> list[nn.Module]:
    """The blocks, with the stem as part of the first one."""
    first, *others = blocks
    return [nn.Sequential(*stem, first), *others]


class SpatialMean(nn.Module):
    """Mean over height and width."""

    def forward(self, features: Tensor) -> Tensor:
        """[batch, channels, h, w] → [batch, channels]."""
        return features.mean([2, 3])


class FirstToken(nn.Module):
    """The class token."""

    def forward(self, tokens: Tensor) -> Tensor:
        """[batch, tokens, channels] → [batch, channels]."""
        return tokens[:, 0]


class MeanToken(nn.Module):
    """Mean of the patches' tokens, which follow `prefix` other tokens."""

    def __init__(self, prefix: int) -> None:
        super().__init__()
        self.prefix = prefix

    def forward(self, tokens: Tensor) -> Tensor:
        """[batch, tokens, channels] → [batch, channels]."""
        return tokens[:, self.prefix :].mean(dim=1)
