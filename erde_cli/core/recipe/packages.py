"""Installed packages that add families of backbones, by the entry point group `erde.backbones`.

A recipe or bundle names one as PACKAGE/NAME. Only then is its entry point imported, by
`models/library/packages.py`; this file reads what pip wrote about the installed packages.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points

from erde_cli.core.errors import InputError, brief
from erde_cli.core.provenance import versions_of
from erde_cli.core.recipe.backbones import FAMILIES, LIBRARIES, PACKAGED_NETWORK

GROUP = "erde.backbones"


def package_of(backbone: str) -> str:
    """The package in PACKAGE/NAME; empty for a family of erde or a network of a library."""
    package, slash, _ = backbone.partition("/")
    return package if slash and package not in LIBRARIES else ""


def entry_point_of(backbone: str) -> EntryPoint:
    """The entry point of the package that a backbone names; nothing is imported.

    Raises:
        InputError: no installed package has it, two have it, or its name is taken by erde.
    """
    package = package_of(backbone)
    found = list(entry_points(group=GROUP, name=package))
    if not re.fullmatch(PACKAGED_NETWORK, backbone) or not found:
        installed = sorted({one.name for one in entry_points(group=GROUP)} - _taken())
        raise InputError(
            f"No installed package adds backbones under the name {brief(package)!r}.",
            got=brief(backbone),
            expected="torchvision/NAME, timm/NAME"
            + "".join(f", {one}/NAME" for one in installed[:5]),
            hint=f"install the package whose entry point group {GROUP} has this name",
        )
    if package in FAMILIES:
        raise InputError(
            f"{_named(found[0])} cannot add backbones under the name {package}, which is a family "
            "of erde.",
            got=brief(backbone),
            expected=f"an entry point with a name other than {', '.join(sorted(_taken()))}",
            hint="ask its authors for another name, or use another backbone",
        )
    if len(found) > 1:
        raise InputError(
            f"Two installed packages add backbones under the name {package}.",
            got=" and ".join(map(_named, found)),
            expected="one",
            hint="uninstall one of them",
        )
    return found[0]


def shadowing(library: str) -> str:
    """A sentence if a package tries to add backbones under the name of a library, else empty."""
    found = list(entry_points(group=GROUP, name=library))
    return f" {_named(found[0])} cannot add any under {library}." if found else ""


def package_version(backbone: str) -> dict[str, str]:
    """Name and version of the package that a backbone names; empty if it names none.

    Raises:
        InputError: see `entry_point_of`.
    """
    if not package_of(backbone):
        return {}
    distribution = entry_point_of(backbone).dist
    return {distribution.name: distribution.version} if distribution else {}


def library_version(backbone: str) -> dict[str, str]:
    """Name and version of the library or package of a backbone; empty for a family of erde.

    Raises:
        InputError: see `entry_point_of`.
    """
    library = backbone.partition("/")[0]
    return versions_of(library) if library in LIBRARIES else package_version(backbone)


def _taken() -> set[str]:
    return {*FAMILIES, *LIBRARIES}


def _named(entry: EntryPoint) -> str:
    return f"The package {entry.dist.name if entry.dist else entry.value}"
