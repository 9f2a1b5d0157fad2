"""First weights of a library's network: the library's own, or those of a file.

Every tensor of the file must belong to the network and have its shape, and every tensor of the
network must be in the file. The last linear layer stays new unless the recipe keeps that of the
weights.

weights_source.py  the library's own weights, and the pixels that they expect
weights_file.py    read a file
weights_match.py   compare its tensors with the network's
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass
from itertools import chain as chained
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from erde_cli.core.figures import counted
from erde_cli.core.models.architecture import Architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.library.chains import chain_of
from erde_cli.core.models.library.kind import Kind
from erde_cli.core.models.library.networks import WeightsOnMeta, library_network
from erde_cli.core.models.library.weights_file import read_weights
from erde_cli.core.models.library.weights_match import Wanted, matched
from erde_cli.core.models.library.weights_source import (
    PublishedWeights,
    preprocessing_of,
    published_weights,
)
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.storage.files import digest_of_file


@dataclass(frozen=True)
class FirstWeights:
    """Where a network's first weights come from.

    source: of the library: the name of its weights; else the name of the file. sha256: of the
    file. tensors: number of tensors taken from it. license: as the library or the file states it;
    None: it states none. classes: names of the last layer's classes, if the library states them.
    """

    source: str
    sha256: str
    tensors: int
    license: str | None = None
    classes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Form in `bundle.json`."""
        return {name: value for name, value in asdict(self).items() if name != "classes"}

    def notes(self, network: Network, data: Data, class_names: tuple[str, ...]) -> list[str]:
        """What to know before training: source, licence, other classes, other pixels.

        Args:
            network: the section of the recipe that names the weights.
            data: its section `data`.
            class_names: of the images.
        """
        kept = network.last_layer == "kept"
        notes = [
            f"{counted(self.tensors, 'tensor')} of {self.source} "
            f"(licence: {self.license or 'not stated'}); the last layer is "
            + ("kept" if kept else "new")
        ]
        if kept and self.classes:
            pairs = zip(class_names, self.classes, strict=False)
            other = [pair for pair in pairs if pair[0] != pair[1]]
            if other:
                notes.append(
                    f"{len(other)} of {len(class_names)} class names are not those of the weights, "
                    f"such as {other[0][0]} for {other[0][1]}. last_layer: kept needs the same "
                    "classes in the same order."
                )
        pixels = preprocessing_of(network.backbone)
        if data.dataset == "imagefolder" and (differences := pixels.differences(data)):
            notes.append(differences)
        return notes


def check_first_weights(network: Network, classes: int, image_size: int) -> None:
    """Check that first weights fit, before anything of the network's size is allocated.

    Weights of the library are downloaded if they are missing.

    Args:
        network: section of the recipe; without weights there is nothing to check.
        classes: number of classes of the images.
        image_size: side of the network's input in pixels.

    Raises:
        InputError, DownloadError: as in `load_first_weights`.
    """
    if network.has_weights:
        _taken(network, classes, image_size)


def load_first_weights(
    model: EarlyExitNet, architecture: Architecture, network: Network
) -> FirstWeights:
    """Replace the weights of a new network by the library's, or by those of a file.

    Args:
        model: built from `architecture`; early heads stay as they are, and so does the last linear
            layer unless `last_layer` is "kept".
        architecture: its backbone is a library's network.
        network: section of the recipe, with `pretrained` or `weights`.

    Raises:
        InputError: the file cannot be read, or a tensor is missing, unexpected or of another shape.
        DownloadError: the library's weights cannot be downloaded.
    """
    source, original, kind, taken = _taken(network, architecture.classes, architecture.image_size)
    tensors = OrderedDict(taken)
    # Versions of the modules, which MNASNet looks up; other versions have other shapes.
    tensors._metadata = original.state_dict()._metadata  # type: ignore[attr-defined]
    original.load_state_dict(tensors, strict=False, assign=True)
    backbone = chain_of(original, kind)
    blocks = chained.from_iterable(stage.children() for stage in model.stages)
    for target, loaded in zip(
        [*blocks, model.heads[-1]], [*backbone.blocks, backbone.classifier], strict=True
    ):
        _copy(loaded, target)
    digest = digest_of_file(source.path)
    return FirstWeights(source.source, digest, len(taken), source.license, source.classes)


def _taken(
    network: Network, classes: int, image_size: int
) -> tuple[PublishedWeights, nn.Module, Kind, dict[str, Tensor]]:
    """Source of the weights; the library's network on the meta device and its kind; its tensors."""
    with WeightsOnMeta():
        original, kind = library_network(
            network.backbone, classes, image_size, small_stem=network.stem == "small"
        )
    if network.pretrained:
        source = published_weights(network.backbone)
        file = read_weights(source.path)
    else:
        path = Path(network.weights or "")
        file = read_weights(path)
        source = PublishedWeights(path, path.name, file.license, ())
    wanted = Wanted(
        network.backbone, original.state_dict(), kind.last, network.last_layer == "kept", image_size
    )
    return source, original, kind, matched(file, wanted, network.match)


@torch.no_grad()
def _copy(source: nn.Module, target: nn.Module) -> None:
    """Copy all tensors that were loaded; the others are on the meta device."""
    state = target.state_dict()
    for name, tensor in source.state_dict().items():
        if not tensor.is_meta:
            state[name].copy_(tensor)
