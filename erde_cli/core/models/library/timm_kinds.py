"""The structures of timm: one function for each, from a network to its chain.

The cuts are those of the same structures in `torchvision_kinds.py`.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from erde_cli.core.errors import InputError
from erde_cli.core.models.library.kind import (
    FirstToken,
    Kind,
    LibraryBackbone,
    MeanToken,
    in_one_block,
)


class _ConvNormAct(nn.Module):
    """A convolution, then a module that is a norm and an activation."""

    folds = (("conv", "norm"),)

    def __init__(self, conv: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm

    def forward(self, features: Tensor) -> Tensor:
        """[batch, inputs, h, w] → [batch, outputs, h', w']."""
        outputs: Tensor = self.norm(self.conv(features))
        return outputs


_FOLDS = {  # class of timm's block: its convolutions, each with the norm that follows it
    "BasicBlock": (("conv1", "bn1"), ("conv2", "bn2")),
    "Bottleneck": (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")),
    "ConvBnAct": (("conv", "bn1"),),
    "ConvNormAct": (("conv", "bn"),),
    "DepthwiseSeparableConv": (("conv_dw", "bn1"), ("conv_pw", "bn2")),
    "EdgeResidual": (("conv_exp", "bn1"), ("conv_pwl", "bn2")),
    "InvertedResidual": (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
}


def _name_folds(network: Any) -> None:
    for module in network.modules():
        folds = _FOLDS.get(type(module).__name__)
        if folds:
            module.folds = folds


def _efficientnet(network: Any) -> LibraryBackbone:
    """EfficientNet, its Lite and V2, and the others of that class, such as MobileNetV2."""
    _name_folds(network)
    stem = _ConvNormAct(network.conv_stem, network.bn1)
    blocks = in_one_block([stem], chain.from_iterable(network.blocks))
    if not isinstance(network.conv_head, nn.Identity):
        blocks.append(_ConvNormAct(network.conv_head, network.bn2))
    return LibraryBackbone(blocks, nn.Sequential(network.global_pool, network.classifier))


def _mobilenetv3(network: Any) -> LibraryBackbone:
    """MobileNetV3 and V4: the last convolution comes after the pooling."""
    _name_folds(network)
    stem = _ConvNormAct(network.conv_stem, network.bn1)
    classifier = nn.Sequential(
        network.global_pool,
        _ConvNormAct(network.conv_head, network.norm_head),
        network.act2,
        network.flatten,
        network.classifier,
    )
    return LibraryBackbone(in_one_block([stem], chain.from_iterable(network.blocks)), classifier)


def _resnet(network: Any) -> LibraryBackbone:
    """ResNet, ResNeXt, their variants with attention or another stem."""
    _name_folds(network)
    blocks = [*network.layer1, *network.layer2, *network.layer3, *network.layer4]
    stem = (network.conv1, network.bn1, network.act1, network.maxpool)
    classifier = nn.Sequential(network.global_pool, network.fc)
    return LibraryBackbone(in_one_block(stem, blocks), classifier)


def _regnet(network: Any) -> LibraryBackbone:
    _name_folds(network)
    groups = (network.s1, network.s2, network.s3, network.s4)
    blocks = in_one_block([network.stem], [block for group in groups for block in group.children()])
    return LibraryBackbone(blocks, nn.Sequential(network.final_conv, network.head))


def _convnext(network: Any) -> LibraryBackbone:
    blocks: list[nn.Module] = []
    before: list[nn.Module] = [network.stem]
    for group in network.stages:
        blocks += in_one_block([*before, group.downsample], group.blocks)
        before = []
    return LibraryBackbone(blocks, nn.Sequential(network.norm_pre, network.head), layer_norm=True)


class _Tokens(nn.Module):
    """Patches of an image as tokens at their positions, after class and register tokens."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.patches = network.patch_embed
        self.class_token = network.cls_token
        self.register_tokens = network.reg_token
        self.positions = network.pos_embed
        self.without_prefix = network.no_embed_class  # positions are those of the patches only
        self.rest = nn.Sequential(network.pos_drop, network.patch_drop, network.norm_pre)

    def forward(self, images: Tensor) -> Tensor:
        """[batch, 3, side, side] → [batch, tokens, channels]."""
        tokens: Tensor = self.patches(images)
        if self.positions is not None and self.without_prefix:
            tokens = tokens + self.positions
        before = [one for one in (self.class_token, self.register_tokens) if one is not None]
        if before:
            count = tokens.shape[0]  # `len` would fix the batch of an exported network
            tokens = torch.cat([*(one.expand(count, -1, -1) for one in before), tokens], dim=1)
        if self.positions is not None and not self.without_prefix:
            tokens = tokens + self.positions
        normalised: Tensor = self.rest(tokens)
        return normalised


def _vit(network: Any) -> LibraryBackbone:
    pooled = network.global_pool
    if pooled not in ("token", "avg") or network.pool_include_prefix or network.dynamic_img_size:
        raise InputError(
            "This vision transformer of timm pools its tokens in a way that erde does not know.",
            got=f"global_pool {pooled!r}, dynamic_img_size {network.dynamic_img_size}",
            expected="token or avg, over the patches of one image size",
            hint="use another network, such as timm/vit_small_patch16_224",
        )
    prefix = network.num_prefix_tokens
    pool = FirstToken() if pooled == "token" else MeanToken(prefix)
    return LibraryBackbone(
        in_one_block([_Tokens(network)], network.blocks),
        nn.Sequential(network.norm, pool, network.fc_norm, network.head_drop, network.head),
        layout="tokens",
        prefix=prefix,
        class_token=network.has_class_token,
        layer_norm=True,
    )


KINDS = {  # the module of timm.models that a network's class is in
    "efficientnet": Kind(_efficientnet, last="classifier", stem="conv_stem"),
    "mobilenetv3": Kind(_mobilenetv3, last="classifier", stem="conv_stem"),
    "resnet": Kind(_resnet, last="fc", stem="conv1", pool="maxpool"),
    "regnet": Kind(_regnet, last="head.fc", stem="stem"),
    "convnext": Kind(_convnext, last="head.fc"),
    "vision_transformer": Kind(_vit, last="head", sized="img_size"),
}
