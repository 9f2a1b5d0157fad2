"""Backbones that other installed packages add; `recipe/packages.py` finds their entry points."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from erde_cli.core.errors import ErdeError, InputError, brief
from erde_cli.core.models.backbone import Backbone
from erde_cli.core.models.early_exit import evaluation_mode
from erde_cli.core.models.library.kind import LibraryBackbone
from erde_cli.core.recipe.packages import entry_point_of, package_of


def package_backbone(name: str, classes: int, image_size: int) -> LibraryBackbone:
    """Import the package that a backbone names, and let it build the network.

    Args:
        name: PACKAGE/NAME; the package receives NAME.
        classes: number of classes.
        image_size: side of the images in pixels.

    Raises:
        InputError: the package is not installed, cannot be imported, fails, or returns something
            that is not a backbone for these classes and images.
    """
    package, entry = package_of(name), entry_point_of(name)
    try:
        build = entry.load()
    except Exception as error:  # code of others can raise anything
        raise _unusable(f"The package {package} cannot be imported.", _reason(error)) from error
    try:
        chain = build(name.partition("/")[2], classes, image_size)
        _check(chain, package, classes, image_size)
    except ErdeError:
        raise
    except Exception as error:
        raise _unusable(f"The package {package} cannot build {name}.", _reason(error)) from error
    if isinstance(chain, LibraryBackbone):
        return chain
    return LibraryBackbone(list(chain.blocks), chain.classifier, chain.preactivated)


def _check(chain: Any, package: str, classes: int, image_size: int) -> None:
    """Check the type of what a package returned, and the shape of its logits."""
    returned = f"The package {package} does not return a backbone."
    if not isinstance(chain, Backbone):
        raise _unusable(returned, type(chain).__name__, "a Backbone or LibraryBackbone")
    if not chain.blocks or not all(
        isinstance(module, nn.Module) for module in (*chain.blocks, chain.classifier)
    ):
        raise _unusable(returned, "parts that are not modules", "a list of blocks and a classifier")
    whole = nn.Sequential(*chain.blocks, chain.classifier)
    with torch.no_grad(), evaluation_mode(whole):
        shape = tuple(whole(torch.zeros(1, 3, image_size, image_size)).shape)
    if shape != (1, classes):
        raise _unusable(returned, f"logits {list(shape)}", f"[1, {classes}] for one image")


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return brief(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)


def _unusable(message: str, got: str, expected: str = "") -> InputError:
    return InputError(
        message,
        got=got,
        expected=expected or "a function of a name, classes and image_size (docs/backbones.md)",
        hint="install another version of it, or use another backbone",
    )
