"""The residual backbone: its size by arithmetic, and blocks that can be cut anywhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.macs import count_macs
from erde_cli.core.models.resnet import BasicBlock, resnet
from erde_cli.core.recipe.sections.network import Network


def size_by_hand(
    depth: int, width: int, classes: int, image: int, stem_stride: int
) -> tuple[int, int]:
    """Parameters and multiply-adds of a ResNet-(6n+2) with shortcuts of option B."""
    image //= stem_stride
    convolutions = [(3, width, 9, image)]  # inputs, outputs, weights of a filter, side of output
    for third in range(3):
        outputs, side = width * 2**third, image // 2**third
        for block in range((depth - 2) // 6):
            grows = third > 0 and block == 0
            inputs = outputs // 2 if grows else outputs
            convolutions += [(inputs, outputs, 9, side), (outputs, outputs, 9, side)]
            convolutions += [(inputs, outputs, 1, side)] if grows else []
    parameters = sum(a * b * filter_ + 2 * b for a, b, filter_, _ in convolutions)
    macs = sum(a * b * filter_ * side**2 for a, b, filter_, side in convolutions)
    return parameters + (4 * width + 1) * classes, macs + 4 * width * classes


@pytest.mark.parametrize(
    ("depth", "width", "classes", "image"), [(20, 16, 10, 32), (8, 4, 5, 8), (32, 2, 100, 16)]
)
@pytest.mark.parametrize("stride", [1, 2])
def test_parameters_and_macs_are_those_of_the_arithmetic(
    depth: int, width: int, classes: int, image: int, stride: int
) -> None:
    network = Network.model_validate(
        {"depth": depth, "width": width, "exits": 1, "stem_stride": stride}
    )
    model = build_model(resolve_architecture(network, classes, image))
    parameters, macs = size_by_hand(depth, width, classes, image, stride)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert count_macs(model, torch.zeros(1, 3, image, image)) == macs


def test_resnet_20_has_the_size_of_the_literature() -> None:
    model = build_model(resolve_architecture(Network(depth=20, width=16, exits=1), 10, 32))
    assert sum(parameter.numel() for parameter in model.parameters()) == 272_474
    assert round(count_macs(model, torch.zeros(1, 3, 32, 32)) / 1e6, 2) == 40.81


@pytest.mark.parametrize("depth", [8, 14, 20])
def test_the_depth_is_the_layers_on_the_way_without_the_shortcuts(depth: int) -> None:
    backbone = resnet(depth, 2, 5, 2)
    layers = [
        name
        for name, module in nn.ModuleList([*backbone.blocks, backbone.classifier]).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in name
    ]
    assert len(layers) == depth
    assert len(backbone.blocks) == (depth - 2) // 2


def test_every_block_halves_or_keeps_the_side_and_says_its_channels() -> None:
    backbone = resnet(14, 3, 5, 3)
    features = torch.zeros(2, 3, 12, 12)
    shapes = []
    for block in backbone.blocks:
        features = block(features)
        shapes.append(tuple(features.shape))
    assert shapes == [(2, 3, 12, 12)] * 2 + [(2, 6, 6, 6)] * 2 + [(2, 12, 3, 3)] * 2
    assert backbone.classifier(features).shape == (2, 5)


@pytest.mark.parametrize(
    ("inputs", "outputs", "stride", "projects"),
    [(4, 4, 1, False), (4, 8, 2, True), (4, 8, 1, True), (4, 4, 2, True)],
)
def test_a_shortcut_has_a_convolution_only_where_the_shape_changes(
    inputs: int, outputs: int, stride: int, projects: bool
) -> None:
    block = BasicBlock(inputs, outputs, stride)
    assert isinstance(block.shortcut, nn.Identity) != projects
    assert block(torch.zeros(2, inputs, 8, 8)).shape == (2, outputs, 8 // stride, 8 // stride)


def test_a_block_whose_second_norm_is_silent_gives_its_input_rectified() -> None:
    block = BasicBlock(4, 4, 1)
    nn.init.zeros_(block.norm2.weight)
    features = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    kept = features.clone()
    assert torch.equal(block(features), kept.relu())
    assert torch.equal(features, kept)
