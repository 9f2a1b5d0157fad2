"""A network of torchvision or timm as a chain of blocks that can be cut after each of them.

library_network   name → the library's own network       (weights of the library go in here)
chain_of          network → blocks and classifier        (the same modules, nothing copied)
check_equal       the chain answers as the network does  (once, when a bundle is made)
head_input        features of a stage → what a head of `models/heads.py` reads
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from erde_cli.core.errors import ErdeError, InputError, UnsupportedOperatorError
from erde_cli.core.models.early_exit import evaluation_mode
from erde_cli.core.models.heads import StageOutput
from erde_cli.core.models.library.kind import Kind, LibraryBackbone
from erde_cli.core.models.library.networks import library_network
from erde_cli.core.models.library.shapes import count_shapes

TOLERANCE = 1e-5  # of the largest logit; on a CPU the difference is 0
_IMAGES = 2
_POOLED = 4  # side of the map that a head reads: larger maps are pooled to it first


def library_backbone(
    name: str, classes: int | None, image_size: int, *, small_stem: bool = False
) -> LibraryBackbone:
    """Build a network of a library, with fresh weights, as a chain of blocks.

    torch's global generator draws the weights. Inside `torch.device("meta")` they need no memory.

    Args:
        name: `torchvision/` or `timm/` and a name in the library's own list.
        classes: replaces the last linear layer; None keeps the library's classes and layer.
        image_size: side of the images in pixels.
        small_stem: gives the strided convolution of the stem a stride of 1 and leaves out the
            pooling after it, for images of 32 pixels.

    Raises:
        InputError: erde cannot cut this network, the library is not installed, or the arguments
            do not fit the network.
        ErdeError: the chain does not answer as the network does.
    """
    network, kind = library_network(name, classes, image_size, small_stem=small_stem)
    chain = chain_of(network, kind)
    try:
        count_shapes(nn.Sequential(*chain.blocks), (1, 3, image_size, image_size))
    except UnsupportedOperatorError:
        pass  # `count_macs` names the operator when the network is profiled
    except ValueError as error:
        raise InputError(
            f"The images are too small for {name}.",
            got=f"image_size {image_size}",
            expected="features of at least one pixel after every layer",
            hint="use a larger image_size, such as 64",
        ) from error
    if not next(network.parameters()).is_meta:  # bundles are loaded on meta
        check_equal(network, chain, image_size)
    return chain


def chain_of(network: nn.Module, kind: Kind) -> LibraryBackbone:
    """Cut a network into blocks, which share its modules and weights."""
    return kind.cut(network)


def check_equal(original: nn.Module, chain: LibraryBackbone, image_size: int) -> float:
    """Largest difference between the logits of a network and of its chain, on two random images.

    Both run on the CPU, in float32 and evaluation mode. The images have mean 0 and standard
    deviation 1, like normalised images.

    Raises:
        ErdeError: the difference is above `TOLERANCE` times the largest logit.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_IMAGES, 3, image_size, image_size, generator=generator)
    whole = nn.Sequential(*chain.blocks, chain.classifier)
    with torch.no_grad(), evaluation_mode(original), evaluation_mode(whole):
        expected: Tensor = original(images)
        difference: float = (whole(images) - expected).abs().max().item()
    allowed = TOLERANCE * expected.abs().max().item()
    if not difference <= allowed:  # also where one of them is not a number
        raise ErdeError(
            "The stages of this network give other logits than the library's network.",
            got=f"logits that differ by up to {difference:g}",
            expected=f"at most {allowed:g}",
            hint="install another version of the library, or use another backbone",
        )
    return difference


def head_input(chain: LibraryBackbone, features: Tensor) -> tuple[list[nn.Module], StageOutput]:
    """Layers to put before a head of `models/heads.py`, and what the head then reads.

    The layers turn features of any layout into [batch, channels, side, side], with a side of at
    most 4. Tokens become one position: the class token, or the mean of the patches' tokens if
    there is no class token.

    Args:
        chain: where the features come from.
        features: output of one of its blocks; only its shape is read.
    """
    channels = features.shape[1] if chain.layout == "map" else features.shape[-1]
    side = {"map": features.shape[-1], "map_last": features.shape[1], "tokens": 1}[chain.layout]
    layers: list[nn.Module] = []
    if chain.layout != "map" or chain.layer_norm:
        layers.append(ToMap(chain, channels))
    if side > _POOLED:
        layers.append(nn.AdaptiveAvgPool2d(_POOLED))
    return layers, StageOutput(channels, min(side, _POOLED), chain.preactivated, pooled=side == 1)


class ToMap(nn.Module):
    """Features of a transformer or ConvNeXt as a normalised map."""

    def __init__(self, chain: LibraryBackbone, channels: int) -> None:
        super().__init__()
        self.layout = chain.layout
        self.prefix = chain.prefix
        self.class_token = chain.class_token
        self.norm = nn.LayerNorm(channels, eps=1e-6) if chain.layer_norm else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Features in the chain's layout → [batch, channels, side, side]."""
        if self.layout == "map":
            features = features.permute(0, 2, 3, 1)
        elif self.layout == "tokens" and self.class_token:
            features = features[:, 0, None, None]
        elif self.layout == "tokens":
            features = features[:, self.prefix :].mean(dim=1)[:, None, None]
        normalised: Tensor = self.norm(features)
        return normalised.permute(0, 3, 1, 2)
