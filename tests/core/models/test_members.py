"""The members of a family, from small to large."""

from typing import Any

import pytest

from erde_cli.core.errors import InputError
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.library.listing import list_backbones
from erde_cli.core.models.members import members
from erde_cli.core.models.profile import profile_model
from erde_cli.core.recipe.sections.network import Network


def family(name: str, **keys: Any) -> Network:
    return Network.model_validate({"family": name, "budget": 0.1, "exits": 2, **keys})


def test_what_is_given_stays_and_the_next_key_is_chosen() -> None:
    depths = members(family("resnet", head="gap"), 16)
    assert [one.depth for one in depths[:3]] == [8, 14, 20]
    assert {(one.backbone, one.width, one.head) for one in depths} == {("resnet", None, "gap")}
    widths = members(family("resnet", depth=8), 16)
    assert {one.depth for one in widths} == {8}
    assert [one.width for one in widths[:3]] == [2, 4, 6]
    sides = members(family("resnet", depth=8, width=4), 16)
    assert [one.image_size for one in sides] == [8, 12, 16]
    assert all(one.family is None and one.budget is None for one in (*depths, *widths, *sides))


def test_members_need_blocks_for_their_exits() -> None:
    assert members(family("vgg", exits=8), 32)[0].depth == 13


def test_members_of_a_library_rise_in_cost() -> None:
    found = members(family("torchvision/shufflenet_v2", head="gap"), 64)
    assert [one.backbone[-4:] for one in found] == ["x0_5", "x1_0", "x1_5", "x2_0"]
    costs = []
    for one in found[:2]:
        model = build_model(resolve_architecture(one, 10, 64))
        costs.append(profile_model(model, 64).full_macs)
    assert costs == sorted(costs)


def test_members_of_a_library_can_rise_in_parameters() -> None:
    names = [one.backbone for one in members(family("torchvision/regnet"), 64)]
    by_parameters = members(family("torchvision/regnet"), 64, by_parameters=True)
    listed = {row.name: row.parameters for row in list_backbones("torchvision/regnet", 64)}
    sizes = [listed[one.backbone] for one in by_parameters]
    assert sizes == sorted(sizes)
    assert [listed[name] for name in names] != sizes  # multiply-adds have another order


def test_keys_that_no_member_has_are_one_sentence() -> None:
    with pytest.raises(InputError, match="do not fit the family"):
        members(family("resnet", pretrained=True), 16)


def test_the_name_of_one_network_leaves_the_image_size_open() -> None:
    found = members(family("torchvision/resnet18"), 128)
    assert [(one.backbone, one.image_size) for one in found] == [
        ("torchvision/resnet18", side) for side in (32, 64, 96, 128)
    ]


@pytest.mark.parametrize(
    "network", [family("resnet", depth=8, width=4, image_size=8),
                family("torchvision/resnet18", image_size=64)],
)  # fmt: skip
def test_a_family_with_one_member_is_refused(network: Network) -> None:
    with pytest.raises(InputError, match="one member"):
        members(network, 64)


def test_an_unknown_family_of_a_library_is_refused() -> None:
    with pytest.raises(InputError, match="No backbone"):
        members(family("torchvision/mobilenet_v9"), 64)
