"""What is known of a library's own weights: pixels, address, licence."""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest

from erde_cli.core.errors import InputError
from erde_cli.core.models.library import weights_source
from erde_cli.core.models.library.networks import library_models, library_names
from erde_cli.core.models.library.weights_file import license_text
from erde_cli.core.models.library.weights_source import (
    library_normalisation,
    preprocessing_of,
    published_weights,
)
from erde_cli.core.platform.torchvision_import import torchvision_models

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def test_the_pixels_are_those_of_torchvisions_transforms() -> None:
    pixels = preprocessing_of("torchvision/resnet50")
    assert (pixels.mean, pixels.std) == IMAGENET
    assert (pixels.image_size, pixels.interpolation) == (224, "bilinear")
    assert pixels.crop_share == 224 / 232
    pixels = preprocessing_of("torchvision/efficientnet_b7")
    assert (pixels.image_size, pixels.crop_share, pixels.interpolation) == (600, 1.0, "bicubic")
    assert library_normalisation("torchvision/efficientnet_v2_l")[0] == [0.5, 0.5, 0.5]


def test_every_network_of_torchvision_states_its_pixels() -> None:
    for name in library_names("torchvision"):
        pixels = preprocessing_of(f"torchvision/{name}")
        assert pixels.crop_share is not None
        assert 0.5 < pixels.crop_share <= 1, name
        assert pixels.interpolation in ("bilinear", "bicubic"), name


def test_the_pixels_are_those_of_timms_settings() -> None:
    pytest.importorskip("timm")
    pixels = preprocessing_of("timm/tf_efficientnet_lite0")
    assert (pixels.mean, pixels.std) == ([0.5] * 3, [0.5] * 3)
    assert (pixels.image_size, pixels.crop_share, pixels.interpolation) == (224, 0.875, "bicubic")
    assert preprocessing_of("timm/vit_base_patch16_clip_384").crop_share is None  # squashed
    assert (*library_normalisation("timm/resnet18"),) == IMAGENET


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tf_efficientnet_lite0", "co/timm/tf_efficientnet_lite0.in1k (licence: apache-2.0), and"),
        ("regnety_002", "co/timm/regnety_002.pycls_in1k (licence: mit), and"),
        # timm's own metadata names the repository of another network.
        ("vit_large_patch14_clip_quickgelu_224", "co/timm/vit_large_patch14_clip_224.dfn2b"),
    ],
)
def test_timms_weights_are_refused_with_the_repository_that_timm_names(
    name: str, says: str
) -> None:
    pytest.importorskip("timm")
    with pytest.raises(InputError, match="does not download weights of timm") as caught:
        published_weights(f"timm/{name}")
    assert says in caught.value.hint
    given = library_models("timm").get_pretrained_cfg(name)
    assert f"https://huggingface.co/{given.hf_hub_id} " in caught.value.hint.replace(",", " ")


def test_a_network_without_published_weights_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty: Any = Enum("Empty", {})
    models = SimpleNamespace(get_model_weights=lambda _: empty)
    monkeypatch.setattr(weights_source, "library_models", lambda _: models)
    with pytest.raises(InputError, match="torchvision names no published weights"):
        published_weights("torchvision/resnet18")
    assert library_normalisation("torchvision/resnet18") == IMAGENET
    monkeypatch.undo()
    pytest.importorskip("timm")
    with pytest.raises(InputError, match="timm names no published weights") as caught:
        published_weights("timm/efficientnet_lite4")
    assert "remove pretrained" in caught.value.hint


def test_a_licence_is_a_short_text_or_unknown() -> None:
    swag = torchvision_models().get_model_weights("vit_h_14").DEFAULT.meta["license"]
    assert license_text(swag) == "https://github.com/facebookresearch/SWAG/blob/main/LICENSE"
    assert license_text("apache-2.0") == "apache-2.0"
    for odd in (None, "", "a" * 201, "mit\nError: none", "mit\x1b[2J", 3):
        assert license_text(odd) is None
