"""What a library states about its own weights: pixels they expect, address, licence, classes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch

from erde_cli.core.errors import DownloadError, InputError, brief
from erde_cli.core.models.library.networks import library_models
from erde_cli.core.models.library.weights_file import license_text
from erde_cli.core.recipe.sections.data import CROP_SHARE, Data
from erde_cli.core.storage.files import digest_of_file

_CLOSE = 0.005  # between two shares that give the same crop: one pixel of 224


@dataclass(frozen=True)
class WeightsPixels:
    """The pixels that a library's weights were trained and published for.

    mean, std: of each channel. image_size: side of the input in pixels. crop_share: share of the
    short side that the centre square keeps; None: the whole image is resized, with another aspect
    ratio. interpolation: filter of the resize, as in a recipe.
    """

    mean: list[float]
    std: list[float]
    image_size: int
    crop_share: float | None
    interpolation: str

    def differences(self, data: Data) -> str | None:
        """A sentence about how a recipe resizes photos otherwise; None: in the same way."""
        share = data.kept_share
        expected = self.crop_share
        same = share == expected or bool(share and expected and abs(share - expected) < _CLOSE)
        if same and data.interpolation == self.interpolation:
            return None
        return (
            f"The weights expect {_resize(expected, self.interpolation)}; the recipe has "
            f"{_resize(share, data.interpolation)}."
        )


def _resize(crop_share: float | None, interpolation: str) -> str:
    """The same as keys of a recipe's data section."""
    crop = "squash" if crop_share is None else f"crop, crop_share: {crop_share:.3g}"
    return f"resize: {crop}, interpolation: {interpolation}"


_USUAL = WeightsPixels([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 224, CROP_SHARE, "bilinear")


def preprocessing_of(name: str) -> WeightsPixels:
    """The pixels that the weights of a library's network expect, by its name in a recipe.

    Those of ImageNet classifiers, if the library publishes no weights of the network.
    """
    library, _, short = name.partition("/")
    if library == "timm":
        given = library_models(library).get_pretrained_cfg(short)
        if given is None:
            return _USUAL
        mean, std, side = list(given.mean), list(given.std), given.input_size[-1]
        share = None if given.crop_mode == "squash" else given.crop_pct
        return WeightsPixels(mean, std, side, share, given.interpolation)
    weights = _torchvision_weights(name)
    if weights is None:
        return _USUAL
    given = weights.transforms()
    (side,), (resized,) = given.crop_size, given.resize_size
    share, interpolation = side / resized, given.interpolation.value
    return WeightsPixels(list(given.mean), list(given.std), side, share, interpolation)


def library_normalisation(name: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel that the library's own weights expect."""
    pixels = preprocessing_of(name)
    return pixels.mean, pixels.std


@dataclass(frozen=True)
class PublishedWeights:
    """A file of the library's own weights on this machine; classes: their names."""

    path: Path
    source: str
    license: str | None
    classes: tuple[str, ...]


def published_weights(name: str) -> PublishedWeights:
    """The library's own weights; downloads them if the file is missing.

    Raises:
        InputError: the library is timm, there are no such weights, or the file is not the
            published one.
        DownloadError: there is no connection.
    """
    if name.startswith("timm/"):
        raise _of_timm(name)
    weights = _torchvision_weights(name)
    if weights is None:
        raise _unpublished(name)
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    published = re.search(r"-([0-9a-f]{8,})\.", path.name)
    prefix = published.group(1) if published else ""
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(weights.url, str(path), prefix, progress=False)
        except (URLError, OSError, RuntimeError) as error:
            raise DownloadError(
                f"The weights of {name} cannot be downloaded: {brief(str(error))}.",
                expected=f"a connection to {weights.url}, or that file at {path}",
                hint=f"download {weights.url} on another machine, and put it at {path}; or train "
                "without pretrained weights, by a recipe of erde init FOLDER --no-pretrained",
            ) from error
    if not digest_of_file(path).startswith(prefix):
        raise InputError(
            f"{path} is not the published file.",
            got=f"a SHA-256 that does not begin with {prefix}",
            expected=f"the file at {weights.url}",
            hint="delete the file; erde downloads it again",
        )
    license_, classes = weights.meta.get("license"), weights.meta.get("categories", ())
    return PublishedWeights(path, f"torchvision {weights}", license_text(license_), tuple(classes))


def _torchvision_weights(name: str) -> Any:
    """The weights that torchvision recommends for a network; None if it publishes none."""
    of_network = library_models("torchvision").get_model_weights(name.partition("/")[2])
    return getattr(of_network, "DEFAULT", None)


def _of_timm(name: str) -> InputError:
    """The error for `pretrained: true`, with the address and the licence that timm states."""
    given = library_models("timm").get_pretrained_cfg(name.partition("/")[2])
    if given is None or not given.hf_hub_id:
        return _unpublished(name)
    licence = f" (licence: {given.license})" if license_text(given.license) else ""
    return InputError(
        "erde does not download weights of timm.",
        got=f"pretrained: true, backbone: {name}",
        expected="weights: FILE",
        hint=f"download model.safetensors of https://huggingface.co/{given.hf_hub_id}{licence}, "
        "and write weights: model.safetensors instead of pretrained: true",
    )


def _unpublished(name: str) -> InputError:
    library = name.partition("/")[0]
    return InputError(
        f"{library} names no published weights of this network.",
        got=f"pretrained: true, backbone: {name}",
        expected="a network with published weights, or weights: FILE",
        hint="use another backbone, or remove pretrained to begin with random weights",
    )
