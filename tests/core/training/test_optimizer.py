"""Parameter groups of the optimiser, and the layout of its state in a checkpoint."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn

from erde_cli.core.models.architecture import Architecture, build_model, resolve_architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.recipe.backbones import FAMILIES
from erde_cli.core.recipe.heads import HEADS
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.checkpoints import Saved
from erde_cli.core.training.resume_state import mismatch
from erde_cli.core.training.state import TrainState
from tests.core.models.library.small import TIMM, TORCHVISION, make, with_exits

TRAINING = Training(epochs=2, learning_rate=0.1, weight_decay=0.3)
ADAMW = Training(epochs=2, learning_rate=0.1, weight_decay=0.3, optimizer="adamw")
SGD_KEYS = [
    "weight_decay", "lr", "momentum", "dampening", "nesterov", "maximize", "foreach",
    "differentiable", "fused", "params",
]  # fmt: skip


def state_of(settings: Training) -> TrainState:
    return TrainState(build_model(Architecture("resnet", 8, 4, (1, 2), "erde", 4, 8), 1), settings)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", FAMILIES)
def test_of_erdes_own_networks_what_has_more_than_one_dimension_is_decayed(
    name: str, head: Any
) -> None:
    family = FAMILIES[name]
    network = Network(backbone=name, depth=next(iter(family.blocks)), width=2, exits=2, head=head)
    model = build_model(resolve_architecture(network, 5, max(16, family.least_side)))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed, others = TrainState(model, TRAINING).optimizer.param_groups
    for group, expected in (
        (decayed, [p for p in trained if p.ndim > 1]),
        (others, [p for p in trained if p.ndim <= 1]),
    ):
        assert [id(p) for p in group["params"]] == [id(p) for p in expected]


def test_a_checkpoint_has_the_layout_of_earlier_versions() -> None:
    """Otherwise a training of an earlier version could not be continued."""
    found = state_of(TRAINING).optimizer.state_dict()
    parameters = list(state_of(TRAINING).model.parameters())
    weights = sum(parameter.ndim > 1 for parameter in parameters)
    groups = found["param_groups"]
    assert [list(group) for group in groups] == [SGD_KEYS, SGD_KEYS]
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert [group["params"] for group in groups] == [
        list(range(weights)), list(range(weights, len(parameters))),
    ]  # fmt: skip
    assert [list(values) for values in found["state"].values()] == (
        [["momentum_buffer"]] * len(parameters)
    )


def test_the_state_of_adamw_is_complete_before_the_first_step() -> None:
    state = state_of(ADAMW)
    before = state.state_dict()
    for parameter in state.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state.optimizer.step()
    after = state.state_dict()
    stream = io.BytesIO()
    torch.save(after, stream)
    stream.seek(0)
    read = torch.load(stream, weights_only=True)
    assert mismatch(Saved({}, read, [], []), before) == ""
    assert list(before["optimizer"]["state"]) == list(after["optimizer"]["state"])
    read["optimizer"]["state"][0]["exp_avg"] = torch.zeros(1)
    assert "exp_avg differs in form" in mismatch(Saved({}, read, [], []), before)
    assert mismatch(Saved({}, state_of(TRAINING).state_dict(), [], []), before)


def names_that_are_not_decayed(model: EarlyExitNet) -> set[str]:
    """Names of the parameters with more than one dimension, without the numbers of blocks."""
    _, others = TrainState(model, TRAINING).optimizer.param_groups
    return {
        name.rpartition(".")[2]
        for name, parameter in model.named_parameters()
        if parameter.ndim > 1 and any(parameter is other for other in others["params"])
    }


@pytest.mark.parametrize("name", TORCHVISION)
def test_tokens_positions_and_scales_of_torchvision_are_not_decayed(name: str) -> None:
    expected = {
        "vit": {"class_token", "positions"},
        "convnext": {"layer_scale"},
        "swin": {"relative_position_bias_table"},
        "swin_v2": {"logit_scale"},
    }
    model = with_exits(make(name), [1])
    assert names_that_are_not_decayed(model) == expected.get(name, set())
    decayed, _ = TrainState(model, TRAINING).optimizer.param_groups
    linear = [m.weight for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    linear += [m.in_proj_weight for m in model.modules() if isinstance(m, nn.MultiheadAttention)]
    assert {id(weight) for weight in linear} == {id(weight) for weight in decayed["params"]}


@pytest.mark.parametrize("name", ["convnextv2_atto", "vit_wee_patch16_reg1_gap_256", "resnet26d"])
def test_tokens_and_positions_of_timm_are_not_decayed(name: str) -> None:
    pytest.importorskip("timm")
    assert f"timm/{name}" in TIMM
    expected = {"vit_wee_patch16_reg1_gap_256": {"register_tokens", "positions"}}
    model = with_exits(make(f"timm/{name}"), [1])
    assert names_that_are_not_decayed(model) == expected.get(name, set())
