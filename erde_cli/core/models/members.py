"""The members of a family of backbones, from small to large."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from erde_cli.core.errors import InputError, first_reason
from erde_cli.core.models.library.listing import list_backbones
from erde_cli.core.recipe.backbones import FAMILIES
from erde_cli.core.recipe.sections.network import Network

_DEEPEST = 200  # layers
_WIDTHS = range(2, 1025, 2)  # channels
_STEP = {True: 32, False: 4}  # of image sizes in pixels; by whether the network is a library's


def members(network: Network, image_size: int, *, by_parameters: bool = False) -> list[Network]:
    """The networks that a family stands for, in ascending order of multiply-adds or parameters.

    Members of a family of erde differ in depth. With `depth` they differ in width, and with `width`
    as well in image size. Members of a library's family are all networks whose names begin with it.
    If it is the name of one network, the members differ in image size.

    Args:
        network: section of a recipe with `family`.
        image_size: largest side of a member's images, in pixels.
        by_parameters: order the networks of a library by their parameters.

    Raises:
        InputError: no network has a name of this family, or the library is not installed.
    """
    name = network.family or ""
    family = FAMILIES.get(name)
    if family is None:
        listed = [row for row in list_backbones(name, image_size) if row.name.startswith(name)]
        if name not in (row.name for row in listed):
            fit = [row for row in listed if row.macs and row.exits >= network.exit_count]
            fit.sort(key=lambda row: row.parameters if by_parameters else row.macs or 0)
            return [_member(network, row.name) for row in fit]
    elif network.depth is None:
        depths = (depth for depth, blocks in family.blocks.items() if blocks >= network.exit_count)
        return [_member(network, name, depth=depth) for depth in depths if depth <= _DEEPEST]
    elif network.width is None:
        return [_member(network, name, width=width) for width in _WIDTHS]
    step = _STEP[family is None]
    least = max(step, 8, family.least_side if family else 32)
    if network.image_size is not None:
        raise InputError(
            "This family has one member, so a budget has nothing to choose.",
            got=f"student.family: {name} with a given depth, width and image_size"
            if family
            else f"student.family: {name}, the name of one network, with a given image_size",
            expected="one of these left open",
            hint="remove image_size",
        )
    return [_member(network, name, image_size=side) for side in range(least, image_size + 1, step)]


def _member(network: Network, backbone: str, **keys: Any) -> Network:
    section = network.model_dump(exclude_defaults=True, exclude={"family", "budget"})
    try:
        return Network.model_validate({**section, "backbone": backbone, **keys})
    except ValidationError as error:
        raise InputError(
            f"The keys of the section student do not fit the family {network.family}.",
            got=first_reason(error),
            expected="keys that its members have",
            hint="correct the section student of the recipe",
        ) from error
