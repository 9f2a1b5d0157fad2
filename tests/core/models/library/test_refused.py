"""Names and sizes that cannot be used are refused in one sentence, with what to write."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from erde_cli.core.errors import ErdeError, InputError
from erde_cli.core.models.library.chains import check_equal, library_backbone
from erde_cli.core.models.library.kind import LibraryBackbone


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet50", "torchvision/resnet50"),
        ("resnet", "torchvision/resnet"),
        ("torchvision/resnet51", "torchvision/resnet50"),
        ("torchvision/ResNet50", "torchvision/resnet50"),
        ("torchvision/alexnet", "torchvision/"),  # another structure
        ("torchvision/googlenet", "torchvision/"),
        ("torchvision/", "torchvision/"),
        ("torchvision/resnet50.IMAGENET1K_V2", "torchvision/resnet50"),
        ("torchvision/quantized_resnet50", "torchvision/"),
        ("torchvision/../resnet50", "torchvision/resnet50"),
        ("hf-hub:timm/resnet50", "torchvision/"),
        ("keras/resnet50", "torchvision/"),
        ("x" * 10_000, "torchvision/"),
        ("", "torchvision/"),
    ],
)
def test_another_name_is_refused_with_near_ones(name: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        library_backbone(name, 5, 64)
    assert hint in caught.value.hint
    assert caught.value.expected
    assert len(str(caught.value)) < 1000
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["vgg11", "vit_b_16", "swin_t", "convnext_tiny"])
def test_a_stem_that_is_not_strided_cannot_be_made_small(name: str) -> None:
    with torch.device("meta"), pytest.raises(InputError, match="no strided stem"):
        library_backbone(f"torchvision/{name}", 5, 32, small_stem=True)


def test_patches_must_fill_the_image() -> None:
    with torch.device("meta"), pytest.raises(InputError, match="images of this size") as caught:
        library_backbone("torchvision/vit_b_16", 5, 100)
    assert "image_size 100" in caught.value.got


@pytest.mark.parametrize("name", ["vgg11", "densenet121"])
def test_images_that_leave_no_pixel_are_refused(name: str) -> None:
    with torch.device("meta"), pytest.raises(InputError, match="too small") as caught:
        library_backbone(f"torchvision/{name}", 5, 16)
    assert caught.value.got == "image_size 16"


def test_a_chain_that_answers_otherwise_is_refused() -> None:
    layers = [nn.Conv2d(3, 4, 3), nn.Sequential(nn.Flatten(), nn.Linear(4 * 36, 5))]
    other = nn.Sequential(nn.Conv2d(3, 4, 3), layers[1])
    chain = LibraryBackbone([layers[0]], layers[1])
    assert check_equal(nn.Sequential(*layers), chain, 8) == 0
    with pytest.raises(ErdeError, match="give other logits") as caught:
        check_equal(other, chain, 8)
    assert "differ" in caught.value.got
    nn.init.constant_(layers[0].weight, float("nan"))  # type: ignore[arg-type]
    with pytest.raises(ErdeError, match="give other logits"):
        check_equal(nn.Sequential(*layers), chain, 8)


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_a_network_of_timm_names_the_extra() -> None:
    with pytest.raises(InputError, match="timm") as caught:
        library_backbone("timm/tf_efficientnet_lite0", 5, 64)
    assert caught.value.hint == "pip install 'erde-cli[timm]'"
