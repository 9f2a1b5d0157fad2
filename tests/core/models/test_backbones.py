"""Backbones have the sizes of published ones, and the properties of their families."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.heads import StageOutput, gap_head
from erde_cli.core.models.macs import count_macs
from erde_cli.core.models.wrn import PreactivationBlock, wrn
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.recipe.yaml_text import parse_yaml

RESNET_X4 = {"widening": 4, "stem": 32}
WRN = {"backbone": "wrn"}
VGG = {"backbone": "vgg"}
AIRBENCH = {"backbone": "airbench"}
PAGE = Path(__file__).parents[3] / "docs/backbones.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if "| `{" in line
]


def test_the_page_shows_every_family_and_the_sizes_of_the_issue() -> None:
    sizes = {name: parameters for name, _, _, _, parameters, _, _, _ in ROWS}
    assert len(sizes) == len(ROWS) == 14
    assert (sizes["ResNet-20"], sizes["WRN-40-2"]) == ("272,474", "2,243,546")
    assert {"resnet8x4", "resnet32x4", "VGG-8", "VGG-13", "VGG-16"} < set(sizes)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_backbone_has_the_size_of_the_literature(row: list[str]) -> None:
    _, keys, blocks, classes, parameters, macs, published, _ = row
    network = Network(exits=1, **parse_yaml(keys.strip("`"), "the page"))
    architecture = resolve_architecture(network, int(classes), 32)
    with torch.device("meta"):
        model = build_model(architecture)
    found = sum(parameter.numel() for parameter in model.parameters())
    assert found == int(parameters.replace(",", ""))
    assert network.blocks == int(blocks)
    millions = published.removesuffix(" M")
    # within one unit of its last digit: the literature cuts as often as it rounds
    assert abs(found / 1e6 - float(millions)) <= 10.0 ** -len(millions.partition(".")[2])
    assert count_macs(model.to_empty(device="cpu"), torch.zeros(1, 3, 32, 32)) == int(
        macs.replace(",", "")
    )


def by_hand_wrn(depth: int, width: int, stem: int, classes: int, image: int) -> tuple[int, int]:
    """Parameters and multiply-adds of a WRN, layer by layer."""
    parameters, macs, inputs = 27 * stem, 27 * stem * image**2, stem
    for third in range(3):
        outputs, side = width * 2**third, image // 2**third
        for block in range((depth - 4) // 6):
            changes = block == 0 and (third > 0 or inputs != outputs)
            weights = 9 * inputs * outputs + 9 * outputs**2 + changes * inputs * outputs
            parameters += weights + 2 * inputs + 2 * outputs  # the norms stand before
            macs += weights * side**2
            inputs = outputs
    return parameters + 2 * inputs + (inputs + 1) * classes, macs + inputs * classes


@pytest.mark.parametrize(
    ("depth", "widening", "width", "stem"), [(10, 1, 3, None), (16, 2, 4, None), (22, 3, 2, 5)]
)
def test_a_wide_residual_network_is_that_of_the_arithmetic(
    depth: int, widening: int, width: int, stem: int | None
) -> None:
    network = Network(
        backbone="wrn", depth=depth, widening=widening, width=width, stem=stem, exits=1
    )
    model = build_model(resolve_architecture(network, 7, 16))
    parameters, macs = by_hand_wrn(depth, width * widening, stem or width, 7, 16)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert count_macs(model, torch.zeros(1, 3, 16, 16)) == macs


@pytest.mark.parametrize(("depth", "groups"), [(8, "11111"), (13, "22222"), (16, "22333")])
def test_a_vgg_is_that_of_the_arithmetic(depth: int, groups: str) -> None:
    inputs, parameters, macs = 3, 0, 0
    for group, count in enumerate(map(int, groups)):
        outputs, side = 2 * min(2**group, 8), 32 // 2 ** min(group, 3)
        for _ in range(count):
            parameters += (9 * inputs + 1) * outputs + 2 * outputs
            macs += 9 * inputs * outputs * side**2
            inputs = outputs
    network = Network(backbone="vgg", depth=depth, width=2, exits=1)
    model = build_model(resolve_architecture(network, 5, 32))
    found = sum(parameter.numel() for parameter in model.parameters())
    assert found == parameters + (inputs + 1) * 5
    assert count_macs(model, torch.zeros(1, 3, 32, 32)) == macs + inputs * 5
    assert len(network_convolutions(model)) == sum(map(int, groups)) == network.blocks


def network_convolutions(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize(
    "keys",
    [
        {"depth": 14},
        {**WRN, "depth": 16},
        {**VGG, "depth": 8},
        {**AIRBENCH, "depth": 14},
        {"depth": 8, **RESNET_X4},
        {"depth": 8, "stem_stride": 2},
    ],
)
@pytest.mark.parametrize("head", ["erde", "gap"])
def test_a_backbone_can_be_cut_after_every_block(keys: dict[str, Any], head: str) -> None:
    blocks = Network(exits=1, **keys).blocks
    network = Network(exits=list(range(1, blocks)), head=head, **keys)
    model = build_model(resolve_architecture(network, 4, 32)).eval()
    assert model.exit_count == blocks
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, blocks, 4)


@pytest.mark.parametrize("keys", [{"depth": 20}, {**WRN, "depth": 28}, {**VGG, "depth": 13}])
def test_counted_exits_are_evenly_spaced_in_multiply_adds(keys: dict[str, Any]) -> None:
    architecture = resolve_architecture(Network(exits=3, **keys), 10, 32)
    model = build_model(architecture)
    spent, features = [], torch.zeros(1, 3, 32, 32)
    for stage in model.stages:
        spent.append(count_macs(stage, features))
        features = stage.eval()(features).detach()
    assert all(0.2 < part / sum(spent) < 0.5 for part in spent)


# Pre-activation: norm and ReLU come before a convolution, so nothing has normalised what leaves a
# block, and whatever classifies it must.


def test_a_preactivation_block_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    block = PreactivationBlock(3, 4, 2, 0.0).eval()
    assert block.shortcut is not None
    with torch.no_grad():
        block.norm1.running_mean.fill_(0.3)
        block.norm2.running_var.fill_(2.0)
    features = torch.randn(2, 3, 8, 8)
    activated = torch.relu(block.norm1(features))
    hidden = block.conv2(torch.relu(block.norm2(block.conv1(activated))))
    # where the shape changes the shortcut takes the activated features, not the raw ones
    torch.testing.assert_close(block(features), hidden + block.shortcut(activated))
    same = PreactivationBlock(3, 3, 1, 0.0).eval()
    hidden = same.conv2(torch.relu(same.norm2(same.conv1(torch.relu(same.norm1(features))))))
    torch.testing.assert_close(same(features), hidden + features)
    assert bool((same(features) < 0).any())  # no ReLU at the end


def test_dropout_acts_between_the_convolutions_and_only_in_training() -> None:
    torch.manual_seed(0)
    features = torch.randn(4, 8, 4, 4)
    block = PreactivationBlock(8, 8, 1, 0.5)
    seen: list[torch.Tensor] = []
    block.conv2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    block(features)
    block.eval()(features)
    zeros = [float((hidden == 0).float().mean()) for hidden in seen]
    assert zeros[0] > zeros[1] + 0.15  # half of those that the ReLU had left
    model = wrn(16, 4, 5, stem=2, dropout=0.25)
    drops = [
        module.p for module in nn.ModuleList(model.blocks).modules() if type(module) is nn.Dropout
    ]
    assert drops == [0.25] * 6
    assert not [
        m
        for b in wrn(16, 4, 5, stem=2, dropout=0.0).blocks
        for m in b.modules()
        if type(m) is nn.Dropout
    ]


@pytest.mark.parametrize("head", ["erde", "gap"])
def test_every_exit_of_a_preactivated_backbone_normalises_first_and_once(head: str) -> None:
    network = Network(backbone="wrn", depth=16, exits=[2, 4], head=head)
    model = build_model(resolve_architecture(network, 5, 32))
    for exit_head, channels in zip(model.heads, (16, 32, 64), strict=True):
        layers = [type(layer) for layer in exit_head.children()]
        assert layers[:2] == [nn.BatchNorm2d, nn.ReLU]
        assert layers.count(nn.BatchNorm2d) == 1
        assert next(iter(exit_head.children())).num_features == channels
    last_block = list(model.stages[-1].modules())[-1]
    assert not isinstance(last_block, nn.BatchNorm2d | nn.ReLU)


def test_a_head_after_an_activated_backbone_does_not_normalise_again() -> None:
    plain, due = (gap_head(StageOutput(6, 4, preactivated), 5) for preactivated in (False, True))
    assert not [module for module in plain.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [module for module in due.modules() if isinstance(module, nn.BatchNorm2d)]
