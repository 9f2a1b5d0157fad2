"""Networks of timm as chains of blocks, where timm is installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from erde_cli.core.errors import InputError
from erde_cli.core.models.library.chains import library_backbone
from erde_cli.core.models.library.listing import list_backbones
from tests.core.models.library import checks
from tests.core.models.library.small import make

if find_spec("timm") is None:  # importing it here would import torchvision before erde does
    pytest.skip("timm is not installed", allow_module_level=True)


FOLDED = {  # norms, all but one after a stem of several convolutions
    "tf_efficientnet_lite0": 49, "efficientnet_b0": 49, "mobilenetv3_small_050": 34,
    "resnet18": 20, "resnet26d": 30, "regnety_002": 44, "regnetx_002": 44, "convnext_atto": 0,
    "convnextv2_atto": 0, "vit_tiny_patch16_224": 0, "vit_wee_patch16_reg1_gap_256": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDED)
def test_a_folded_chain_answers_the_same(name: str) -> None:
    assert checks.answers_the_same_when_folded(make(f"timm/{name}")) == FOLDED[name]


def test_a_transformer_is_exported_for_batches_of_any_size() -> None:
    checks.exports_for_any_batch(make("timm/vit_tiny_patch16_224"))


@pytest.mark.parametrize(
    "name",
    [
        "tf_efficientnet_lite9", "hf-hub:timm/resnet18", "resnet18.a1_in1k", "swin_tiny", "vgg11",
        "../resnet18", "test_vit3",
    ],
)  # fmt: skip
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        library_backbone(f"timm/{name}", 5, 64)
    assert "timm/" in caught.value.hint


def test_a_network_with_constants_outside_its_weights_is_refused() -> None:
    with pytest.raises(InputError, match="constants"):
        library_backbone("timm/resnetblur18", 5, 64)


def test_a_network_without_classes_needs_their_number() -> None:
    with torch.device("meta"):
        assert library_backbone("timm/vit_small_patch14_dinov2", 5, 56).class_token
        with pytest.raises(InputError, match="no classes of its own"):
            library_backbone("timm/vit_small_patch14_dinov2", None, 56)


def test_networks_of_timm_are_listed_under_its_name() -> None:
    rows = list_backbones("timm/tf_efficientnet_lite")
    assert [row.name for row in rows] == [f"timm/tf_efficientnet_lite{n}" for n in range(5)]
    assert rows[0].parameters == 4_652_008
    assert rows[0].macs is not None
    assert rows[0].exits == 17
