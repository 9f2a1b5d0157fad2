"""From the description of a network to the network."""

from __future__ import annotations

import json

import pytest
import torch

from erde_cli.core.errors import InputError
from erde_cli.core.models.architecture import Architecture, build_model, resolve_architecture
from erde_cli.core.models.profile import profile_model
from erde_cli.core.recipe.sections.network import Network

SMALL = Architecture("resnet", 8, 4, (1, 2), "erde", 5, 8)


def weights(architecture: Architecture, seed: int) -> dict[str, torch.Tensor]:
    return build_model(architecture, seed).state_dict()


def block_macs(depth: int, width: int, size: int) -> list[int]:
    """Cumulative multiply-adds after every block: a network cut after each of them."""
    blocks = (depth - 2) // 2
    model = build_model(
        Architecture("resnet", depth, width, tuple(range(1, blocks)), "gap", 5, size)
    )
    cumulative, spent = [], 0
    for exit_ in profile_model(model, size).exits:
        spent += exit_.stage_macs
        cumulative.append(spent)
    return cumulative


def test_an_architecture_survives_the_way_through_json() -> None:
    document = json.loads(json.dumps(SMALL.to_json()))
    assert Architecture.from_json(document) == SMALL
    assert document["cuts"] == [1, 2]
    assert isinstance(Architecture.from_json(document).cuts, tuple)


@pytest.mark.parametrize(("cuts", "exits"), [((), 1), ((2,), 2), ((1, 2), 3)])
def test_the_exits_are_the_cuts_and_the_last(cuts: tuple[int, ...], exits: int) -> None:
    architecture = Architecture("resnet", 8, 2, cuts, "gap", 5, 8)
    assert architecture.exit_count == exits
    assert build_model(architecture).exit_count == exits


def test_named_blocks_are_cut_as_they_are_named() -> None:
    network = Network(depth=14, width=3, exits=[2, 5], head="gap")
    assert resolve_architecture(network, classes=7, image_size=12) == Architecture(
        "resnet", 14, 3, (2, 5), "gap", 7, 12
    )


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize(
    ("depth", "width", "exits"),
    [(8, 4, 1), (8, 4, 2), (8, 4, 3), (14, 2, 3), (20, 16, 3), (20, 4, 4), (32, 1, 5), (14, 2, 6)],
)
def test_a_number_of_exits_is_spread_evenly_over_the_macs(
    depth: int, width: int, exits: int, size: int
) -> None:
    network = Network(depth=depth, width=width, exits=exits, head="gap")
    cuts = resolve_architecture(network, classes=5, image_size=size).cuts
    cumulative = block_macs(depth, width, size)
    assert len(cuts) == exits - 1
    before = 0
    for number, cut in enumerate(cuts, start=1):
        goal = cumulative[-1] * number / exits
        possible = range(before + 1, len(cumulative) - (exits - number) + 1)
        assert cut in possible
        distances = {block: abs(cumulative[block - 1] - goal) for block in possible}
        assert distances[cut] == min(distances.values())
        before = cut


def test_three_exits_of_nine_equal_blocks_are_cut_near_the_thirds() -> None:
    network = Network(depth=20, width=16, exits=3)
    cuts = resolve_architecture(network, classes=10, image_size=32).cuts
    cumulative = block_macs(20, 16, 32)
    shares = [cumulative[cut - 1] / cumulative[-1] for cut in cuts]
    assert cuts == (3, 6)
    assert shares == pytest.approx([1 / 3, 2 / 3], abs=0.03)


def test_as_many_exits_as_blocks_cut_after_every_block() -> None:
    network = Network(depth=14, width=2, exits=6)
    assert resolve_architecture(network, classes=5, image_size=8).cuts == (1, 2, 3, 4, 5)


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = weights(SMALL, seed=3), weights(SMALL, seed=3)
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_weights_in_every_convolution_and_linear_layer() -> None:
    first, second = weights(SMALL, seed=3), weights(SMALL, seed=4)
    drawn = [name for name, value in first.items() if name.endswith("weight") and value.dim() > 1]
    assert len(drawn) == 7 + 2 + 3  # convolutions, shortcuts, heads
    assert not any(torch.equal(first[name], second[name]) for name in drawn)


def test_the_weights_do_not_depend_on_what_torch_drew_before() -> None:
    expected = weights(SMALL, seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(12345)
        torch.rand(7)
        found = weights(SMALL, seed=3)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_building_leaves_the_generator_of_torch_alone() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(12345)
        before = torch.get_rng_state()
        build_model(SMALL, seed=3)
        assert torch.equal(torch.get_rng_state(), before)
        resolve_architecture(Network(depth=8, width=2, exits=3), classes=5, image_size=8)
        assert torch.equal(torch.get_rng_state(), before)


def test_a_new_network_has_the_statistics_of_no_image() -> None:
    model = build_model(SMALL)
    for name, value in model.state_dict().items():
        if name.endswith("running_mean"):
            assert value.abs().max() == 0, name
        if name.endswith("num_batches_tracked"):
            assert value.item() == 0, name
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("cuts", [(0,), (3,), (4,), (-1,), (2, 1), (1, 1), (1, 2, 3), (0, 1)])
def test_cuts_that_do_not_fit_the_backbone_are_refused(cuts: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="do not fit this backbone") as caught:
        build_model(Architecture("resnet", 8, 2, cuts, "gap", 5, 8))
    assert "from 1 to 2" in caught.value.expected
    assert str(list(cuts)) in caught.value.message


@pytest.mark.parametrize(("backbone", "head"), [("lenet", "gap"), ("resnet", "mlp")])
def test_an_unknown_backbone_or_head_is_refused(backbone: str, head: str) -> None:
    with pytest.raises(InputError, match="has no backbone") as caught:
        build_model(Architecture(backbone, 8, 2, (1,), head, 5, 8))
    assert "backbones resnet, wrn, vgg, airbench; heads erde, gap" in caught.value.expected


def test_a_head_that_cannot_pool_the_features_is_refused() -> None:
    with pytest.raises(InputError, match="1x1") as caught:
        build_model(Architecture("resnet", 8, 2, (1, 2), "erde", 5, 2))
    assert "gap" in caught.value.hint
