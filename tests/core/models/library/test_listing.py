"""The listing: parameters and multiply-adds against torchvision's own figures."""

from __future__ import annotations

import pytest

from erde_cli.core.errors import InputError
from erde_cli.core.models.library.listing import Listed, list_backbones
from erde_cli.core.models.library.networks import library_names
from erde_cli.core.platform.torchvision_import import torchvision_models


@pytest.fixture(scope="module")
def listed() -> dict[str, Listed]:
    return {row.name.removeprefix("torchvision/"): row for row in list_backbones()}


def test_every_network_that_can_be_cut_is_listed(listed: dict[str, Listed]) -> None:
    assert list(listed) == list(library_names("torchvision"))
    assert all(row.exits >= 8 for row in listed.values())


def test_figures_are_those_that_torchvision_publishes(listed: dict[str, Listed]) -> None:
    """Their `_ops` count the products of attention, as erde does."""
    compared = 0
    for name, row in listed.items():
        weights = torchvision_models().get_model_weights(name).DEFAULT
        if weights.transforms.keywords["crop_size"] != 224:
            continue  # published for larger images
        assert row.parameters == weights.meta["num_params"], name
        assert row.macs is not None
        assert row.macs / 1e9 == pytest.approx(weights.meta["_ops"], rel=0.02), name
        compared += 1
    assert compared > 50


@pytest.mark.parametrize(
    ("name", "giga"),
    [("resnet50", 4.09), ("mobilenet_v2", 0.30), ("vit_b_16", 17.56), ("swin_t", 4.49)],
)
def test_figures_of_the_literature(listed: dict[str, Listed], name: str, giga: float) -> None:
    macs = listed[name].macs
    assert macs is not None
    assert macs / 1e9 == pytest.approx(giga, rel=0.02)


def test_a_word_selects_names() -> None:
    names = [row.name for row in list_backbones("wide_resnet")]
    assert names == ["torchvision/wide_resnet101_2", "torchvision/wide_resnet50_2"]
    with pytest.raises(InputError, match="has this word") as caught:
        list_backbones("torchvision/resnet19")
    assert "torchvision/resnet1" in caught.value.hint


def test_multiply_adds_refer_to_the_image_size() -> None:
    (large,), (small,) = (list_backbones("resnet18", size) for size in (448, 224))
    assert large.macs is not None
    assert small.macs is not None
    assert 3.9 < large.macs / small.macs < 4.1
    assert large.parameters == small.parameters


def test_a_size_that_a_network_does_not_take_has_no_figure() -> None:
    (row,) = list_backbones("vgg11_bn", 16)
    assert row.macs is None
    assert row.to_json() == {
        "name": "torchvision/vgg11_bn", "parameters": 132868840, "macs": None, "exits": 8
    }  # fmt: skip
