"""Networks of a library whose weights take no memory: their cuts, and what they leave behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from erde_cli.core.errors import InputError, UnsupportedOperatorError
from erde_cli.core.models import architecture
from erde_cli.core.models.architecture import resolve_architecture
from erde_cli.core.models.library.kind import LibraryBackbone
from erde_cli.core.models.library.networks import WeightsOnMeta, library_network
from erde_cli.core.recipe.sections.network import Network

NAMES = ["resnet50", "mobilenet_v2", "shufflenet_v2_x0_5", "mnasnet0_5", "regnet_y_400mf"]


@pytest.mark.parametrize("name", NAMES)
def test_even_cuts_are_those_of_a_traced_network_and_need_no_weights(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[LibraryBackbone] = []
    real = architecture.library_backbone

    def record(*args: object, **keys: object) -> LibraryBackbone:
        built.append(real(*args, **keys))  # type: ignore[arg-type]
        return built[-1]

    monkeypatch.setattr(architecture, "library_backbone", record)
    cuts = [
        resolve_architecture(Network(backbone=f"torchvision/{name}", exits=exits), 5, 64).cuts
        for exits in (2, 3, 5)
    ]
    for chain in built:
        assert all(one.is_meta for block in chain.blocks for one in block.state_dict().values())

    def refuse(*_: object) -> None:
        raise UnsupportedOperatorError("No rule.", expected="", hint="")

    monkeypatch.setattr(architecture, "count_shapes", refuse)
    assert cuts == [
        resolve_architecture(Network(backbone=f"torchvision/{name}", exits=exits), 5, 64).cuts
        for exits in (2, 3, 5)
    ]


def test_more_exits_than_blocks_are_refused() -> None:
    with pytest.raises(InputError, match="fewer blocks than exits") as caught:
        resolve_architecture(Network(backbone="torchvision/resnet18", exits=9), 5, 64)
    assert caught.value.expected == "at most 8, one after each block"
    cuts = resolve_architecture(Network(backbone="torchvision/resnet18", exits=8), 5, 64).cuts
    assert cuts == tuple(range(1, 8))


def test_initialisers_are_in_place_again_also_after_an_error() -> None:
    before = {**vars(nn.init)}, nn.Conv2d.reset_parameters, nn.BatchNorm2d.reset_parameters
    with WeightsOnMeta():
        network, _ = library_network("torchvision/mnasnet0_5", None, 64)
        assert nn.Linear(2, 3).weight.is_meta
    assert all(one.is_meta for one in network.state_dict().values())
    with pytest.raises(KeyError), WeightsOnMeta():
        raise KeyError
    assert before == (
        {**vars(nn.init)}, nn.Conv2d.reset_parameters, nn.BatchNorm2d.reset_parameters
    )  # fmt: skip
    layer = nn.Linear(2, 3)
    assert not layer.weight.is_meta
    assert layer.weight.abs().max() <= torch.tensor(0.5).sqrt()
