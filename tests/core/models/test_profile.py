"""What every exit costs."""

from __future__ import annotations

import json

import pytest
import torch

from erde_cli.core.measurement.latency import static_network
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.macs import count_macs
from erde_cli.core.models.profile import ExitProfile, Profile, profile_model


def make_model(
    head: str = "erde", cuts: tuple[int, ...] = (1, 2), size: int = 8, depth: int = 8
) -> EarlyExitNet:
    return build_model(Architecture("resnet", depth, 4, cuts, head, 10, size))


NETWORKS = pytest.mark.parametrize(
    ("head", "cuts", "size", "depth"),
    [("erde", (1, 2), 8, 8), ("gap", (1, 2), 8, 8), ("erde", (3,), 12, 14), ("gap", (), 16, 8)],
)


def test_the_cost_of_an_exit_is_every_stage_and_every_head_on_the_way() -> None:
    profile = profile_model(make_model(), 8)
    conv = 9 * 64  # multiply-adds of a 3x3 convolution per pair of channels, at 8x8
    stages = [
        conv * (3 * 4 + 2 * 4 * 4),
        conv // 4 * (4 * 8 + 8 * 8) + 16 * 4 * 8,
        conv // 16 * (8 * 16 + 16 * 16) + 4 * 8 * 16,
    ]
    heads = [4 * 4 * 4 * 10, 8 * 2 * 2 * 10, 16 * 10]
    assert [exit_.stage_macs for exit_ in profile.exits] == stages
    assert [exit_.head_macs for exit_ in profile.exits] == heads
    assert profile.cumulative_macs == [
        stages[0] + heads[0],
        sum(stages[:2]) + sum(heads[:2]),
        sum(stages) + sum(heads),
    ]
    assert profile.full_macs == sum(stages) + sum(heads)
    assert profile.static_macs == sum(stages) + heads[2]


@NETWORKS
def test_the_full_macs_are_those_of_the_whole_forward_pass(
    head: str, cuts: tuple[int, ...], size: int, depth: int
) -> None:
    model = make_model(head, cuts, size, depth)
    profile = profile_model(model, size)
    assert profile.full_macs == count_macs(model, torch.zeros(1, 3, size, size))
    assert profile.full_macs == profile.cumulative_macs[-1]


@NETWORKS
def test_the_static_macs_are_those_of_a_network_without_early_heads(
    head: str, cuts: tuple[int, ...], size: int, depth: int
) -> None:
    profile = profile_model(make_model(head, cuts, size, depth), size)
    assert profile.static_macs == profile_model(make_model(head, (), size, depth), size).full_macs


@NETWORKS
def test_the_static_macs_of_an_exit_leave_every_earlier_head_out(
    head: str, cuts: tuple[int, ...], size: int, depth: int
) -> None:
    model = make_model(head, cuts, size, depth)
    images = torch.zeros(1, 3, size, size)
    assert profile_model(model, size).static_macs_of_exits == [
        count_macs(static_network(model, index), images) for index in range(model.exit_count)
    ]


@NETWORKS
def test_the_parameters_of_the_exits_sum_to_those_of_the_network(
    head: str, cuts: tuple[int, ...], size: int, depth: int
) -> None:
    model = make_model(head, cuts, size, depth)
    profile = profile_model(model, size)
    assert profile.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert sum(exit_.parameters for exit_ in profile.exits) == profile.parameters
    assert [exit_.exit for exit_ in profile.exits] == list(range(len(cuts) + 1))


def test_the_macs_are_those_of_the_image_size_that_is_asked_for() -> None:
    model = make_model("gap")
    small, large = profile_model(model, 8), profile_model(model, 16)
    assert small.input_shape == (3, 8, 8)
    assert large.input_shape == (3, 16, 16)
    assert [exit_.stage_macs for exit_ in large.exits] == [
        4 * exit_.stage_macs for exit_ in small.exits
    ]


@pytest.mark.parametrize("training", [False, True])
def test_profiling_leaves_the_network_as_it_was(training: bool) -> None:
    model = make_model().train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    profile_model(model, 8)
    assert {module.training for module in model.modules()} == {training}
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ("depth", "cuts", "classes", "useless"),
    [
        (32, (1, 2, 3, 4, 5, 14), 100, [5]),  # the heads on the way make the saving small
        (32, (14,), 10, []),  # one block of 15, and the last head
        (50, (4, 23), 10, [1]),  # one block of 24
        (8, (1, 2), 10, []),
    ],
)
def test_an_exit_that_saves_less_than_5_percent_is_useless(
    depth: int, cuts: tuple[int, ...], classes: int, useless: list[int]
) -> None:
    model = build_model(Architecture("resnet", depth, 1, cuts, "erde", classes, 16))
    profile = profile_model(model, 16)
    saved = [1 - macs / profile.full_macs for macs in profile.cumulative_macs[:-1]]
    assert profile.useless_exits == useless
    assert [exit_ for exit_, share in enumerate(saved) if share < 0.05] == useless


@pytest.mark.parametrize(("macs", "useless"), [(949, []), (950, []), (951, [0]), (1000, [0])])
def test_the_line_is_drawn_below_5_percent(macs: int, useless: list[int]) -> None:
    exits = (ExitProfile(0, 1, macs, 0, macs), ExitProfile(1, 1, 1000 - macs, 0, 1000))
    assert Profile((3, 8, 8), 2, exits).useless_exits == useless


@pytest.mark.parametrize("expected_macs", [None, 1234.5])
def test_the_json_has_exactly_the_documented_keys(expected_macs: float | None) -> None:
    profile = profile_model(make_model(), 8)
    document = json.loads(json.dumps(profile.to_json(expected_macs)))
    assert list(document) == [
        "input_shape",
        "parameters",
        "full_macs",
        "static_macs",
        "expected_macs",
        "exits",
    ]
    for exit_ in document["exits"]:
        assert list(exit_) == ["exit", "parameters", "stage_macs", "head_macs", "cumulative_macs"]
    assert document["input_shape"] == [3, 8, 8]
    assert document["expected_macs"] == expected_macs
    assert document["full_macs"] == profile.full_macs
    assert document["static_macs"] == profile.static_macs
    assert document["parameters"] == profile.parameters
    assert [exit_["cumulative_macs"] for exit_ in document["exits"]] == profile.cumulative_macs
