"""The structures of torchvision: one function for each, from a network to its chain.

Every function takes a network whose class is in the module that its row of `KINDS` names. A network
can be cut after each residual block, inverted residual, dense layer, transformer block, or
convolution of a VGG. A layer that halves the side between two groups of blocks belongs to the block
after it. A last convolution before the pooling is a block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from erde_cli.core.models.library.kind import (
    FirstToken,
    Kind,
    LibraryBackbone,
    SpatialMean,
    in_one_block,
)


def _pooled(network: Any, classifier: nn.Module) -> nn.Sequential:
    return nn.Sequential(network.avgpool, nn.Flatten(1), classifier)


def _resnet(network: Any) -> LibraryBackbone:
    """ResNet, ResNeXt, Wide ResNet."""
    groups = (network.layer1, network.layer2, network.layer3, network.layer4)
    blocks = [block for group in groups for block in group]
    for block in blocks:
        numbers = (1, 2, 3) if hasattr(block, "conv3") else (1, 2)
        block.folds = tuple((f"conv{number}", f"bn{number}") for number in numbers)
    stem = (network.conv1, network.bn1, network.relu, network.maxpool)
    return LibraryBackbone(in_one_block(stem, blocks), _pooled(network, network.fc))


def _vgg(network: Any) -> LibraryBackbone:
    """A block is a convolution with what follows it, up to the next one."""
    blocks: list[nn.Module] = []
    for layer in network.features:
        if isinstance(layer, nn.Conv2d):
            blocks.append(nn.Sequential())
        blocks[-1].append(layer)  # type: ignore[operator]
    return LibraryBackbone(blocks, _pooled(network, network.classifier))


class _DenseLayer(nn.Module):
    """A dense layer whose output is its input, then its own features."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        layer.folds = (("conv1", "norm2"),)

    def forward(self, features: Tensor) -> Tensor:
        """[batch, channels, h, w] → [batch, channels + growth, h, w]."""
        layer: Any = self.layer  # its own forward pass would copy the input
        hidden = layer.conv1(layer.relu1(layer.norm1(features)))
        grown = layer.conv2(layer.relu2(layer.norm2(hidden)))
        return torch.cat([features, grown], 1)


def _densenet(network: Any) -> LibraryBackbone:
    *layers, norm = network.features.named_children()
    blocks: list[nn.Module] = []
    before: list[nn.Module] = []  # the stem or a transition, which begins the next block
    for name, layer in layers:
        if not name.startswith("denseblock"):
            before.append(layer)
            continue
        blocks += in_one_block(before, map(_DenseLayer, layer.values()))
        before = []
    classifier = nn.Sequential(
        norm[1],
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(1),
        network.classifier,
    )
    return LibraryBackbone(blocks, classifier, preactivated=True)


def _mobilenet(network: Any) -> LibraryBackbone:
    """MobileNetV2 and V3."""
    stem, *blocks = network.features
    pool = getattr(network, "avgpool", nn.AdaptiveAvgPool2d(1))
    classifier = nn.Sequential(pool, nn.Flatten(1), network.classifier)
    return LibraryBackbone(in_one_block([stem], blocks), classifier)


def _efficientnet(network: Any) -> LibraryBackbone:
    """EfficientNet and V2."""
    stem, *groups, last = network.features
    blocks = in_one_block([stem], [block for group in groups for block in group])
    return LibraryBackbone([*blocks, last], _pooled(network, network.classifier))


def _regnet(network: Any) -> LibraryBackbone:
    blocks = [block for group in network.trunk_output for block in group]
    return LibraryBackbone(in_one_block([network.stem], blocks), _pooled(network, network.fc))


def _shufflenet(network: Any) -> LibraryBackbone:
    groups = (network.stage2, network.stage3, network.stage4)
    blocks = in_one_block(
        [network.conv1, network.maxpool], [block for group in groups for block in group]
    )
    return LibraryBackbone([*blocks, network.conv5], nn.Sequential(SpatialMean(), network.fc))


def _mnasnet(network: Any) -> LibraryBackbone:
    """The stem has eight layers: a convolution, and a separable one without a shortcut."""
    layers = list(network.layers)
    blocks = [block for group in layers[8:14] for block in group]
    last = nn.Sequential(*layers[14:])
    classifier = nn.Sequential(SpatialMean(), network.classifier)
    return LibraryBackbone([*in_one_block(layers[:8], blocks), last], classifier)


def _grouped(features: Any) -> list[nn.Module]:
    """Blocks of a ConvNeXt or Swin: a stem, then groups of blocks with a layer between two."""
    blocks: list[nn.Module] = []
    for before, group in zip(features[::2], features[1::2], strict=True):
        blocks += in_one_block([before], group)
    return blocks


def _convnext(network: Any) -> LibraryBackbone:
    classifier = nn.Sequential(network.avgpool, network.classifier)
    return LibraryBackbone(_grouped(network.features), classifier, layer_norm=True)


def _swin(network: Any) -> LibraryBackbone:
    """Swin and V2."""
    classifier = nn.Sequential(
        network.norm, network.permute, network.avgpool, network.flatten, network.head
    )
    return LibraryBackbone(
        _grouped(network.features), classifier, layout="map_last", layer_norm=True
    )


class _Tokens(nn.Module):
    """Patches of an image as tokens, after a class token, at their positions."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.projection = network.conv_proj
        self.class_token = network.class_token
        self.positions = network.encoder.pos_embedding
        self.dropout = network.encoder.dropout

    def forward(self, images: Tensor) -> Tensor:
        """[batch, 3, side, side] → [batch, 1 + patches, channels]."""
        patches = self.projection(images).flatten(2).transpose(1, 2)
        first = self.class_token.expand(patches.shape[0], -1, -1)
        tokens: Tensor = self.dropout(torch.cat([first, patches], dim=1) + self.positions)
        return tokens


def _vit(network: Any) -> LibraryBackbone:
    encoder = network.encoder
    return LibraryBackbone(
        in_one_block([_Tokens(network)], encoder.layers),
        nn.Sequential(FirstToken(), encoder.ln, network.heads),
        layout="tokens",
        prefix=1,
        class_token=True,
        layer_norm=True,
    )


KINDS = {  # the module of torchvision.models that a network's class and builder are in
    "resnet": Kind(_resnet, last="fc", stem="conv1", pool="maxpool"),
    "vgg": Kind(_vgg, last="classifier.6"),
    "densenet": Kind(_densenet, last="classifier", stem="features.conv0", pool="features.pool0"),
    "mobilenetv2": Kind(_mobilenet, last="classifier.1", stem="features.0"),
    "mobilenetv3": Kind(_mobilenet, last="classifier.3", stem="features.0"),
    "efficientnet": Kind(_efficientnet, last="classifier.1", stem="features.0"),
    "regnet": Kind(_regnet, last="fc", stem="stem"),
    "convnext": Kind(_convnext, last="classifier.2"),
    "shufflenetv2": Kind(_shufflenet, last="fc", stem="conv1", pool="maxpool"),
    "mnasnet": Kind(_mnasnet, last="classifier.1", stem="layers.0"),
    "vision_transformer": Kind(_vit, last="heads.head", sized="image_size"),
    "swin_transformer": Kind(_swin, last="head"),
}
