"""The networks that can be cut, and what each costs, without building any weights."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from erde_cli.core.errors import InputError, UnsupportedOperatorError, brief
from erde_cli.core.models.library.chains import chain_of
from erde_cli.core.models.library.kind import LibraryBackbone
from erde_cli.core.models.library.networks import WeightsOnMeta, library_names, library_network
from erde_cli.core.models.library.packages import package_backbone
from erde_cli.core.models.library.shapes import count_shapes
from erde_cli.core.recipe.packages import package_of

IMAGE_SIZE = 224  # side of the images that published figures refer to, in pixels
_PREFIX = "timm/"
_CLASSES = 1000  # those of ImageNet, like most networks of the libraries


@dataclass(frozen=True)
class Listed:
    """A network of a library with its own classes.

    Attributes:
        macs: of one image of the listing's size; None if the network does not accept that size or
            has an operator that cannot be counted from shapes.
        exits: largest possible number of exits, the last included.
    """

    name: str
    parameters: int
    macs: int | None
    exits: int

    def to_json(self) -> dict[str, Any]:
        """The object that `erde backbones --json` prints."""
        return asdict(self)


def list_backbones(word: str = "", image_size: int = IMAGE_SIZE) -> list[Listed]:
    """The networks whose name contains a word, in the library's order.

    A word without a match is answered with the nearest names.

    Args:
        word: a part of the name. A word that begins with `timm/` lists networks of timm;
            PACKAGE/NAME is one network of that package; all others list networks of torchvision.
        image_size: side in pixels of the image that multiply-adds refer to.

    Raises:
        InputError: no name contains the word, or the library is not installed.
    """
    if package_of(word):
        return [_of_package(word, image_size)]
    library = "timm" if word.startswith(_PREFIX) else "torchvision"
    names = [f"{library}/{name}" for name in library_names(library)]
    with _heap_at_rest():
        listed = [_listed(name, image_size) for name in names if word in name]
    rows = [row for row in listed if row is not None]
    if not rows:
        near = get_close_matches(word, names, n=3, cutoff=0.4)
        raise InputError(
            "No backbone has this word in its name.",
            got=brief(word),
            expected=f"a part of a name in {library}'s list",
            hint=f"type erde backbones {near[0]}" if near else "list all with: erde backbones",
        )
    return rows


def _listed(name: str, image_size: int) -> Listed | None:
    """A row of the listing, or None if the network cannot be cut or has no classes."""
    try:
        with WeightsOnMeta():
            chain = chain_of(*library_network(name, None, image_size))
    except InputError:
        return None
    return _counted(name, chain, image_size)


def _of_package(name: str, image_size: int) -> Listed:
    """A network of an installed package, with a thousand classes."""
    with torch.device("meta"):
        chain = package_backbone(name, _CLASSES, image_size)
    return _counted(name, chain, image_size)


def _counted(name: str, chain: LibraryBackbone, image_size: int) -> Listed:
    network = nn.Sequential(*chain.blocks, chain.classifier)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    try:
        macs, _ = count_shapes(network, (1, 3, image_size, image_size))
    except (UnsupportedOperatorError, ValueError):
        return Listed(name, parameters, None, len(chain.blocks))
    return Listed(name, parameters, macs, len(chain.blocks))


@contextmanager
def _heap_at_rest() -> Iterator[None]:
    """Keep the garbage collector away from all imported modules; it took a third of the time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
