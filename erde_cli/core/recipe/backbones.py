"""Table of backbone families: what recipes and the network builder need to know of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

# Keys of a network that only some families have. A builder receives depth, width (after widening),
# classes, and the remaining keys of its family by name.
FAMILY_KEYS = ("widening", "stem", "stem_stride", "dropout")
_N = range(1, 1668)  # n in 6n + 2 and 6n + 4, up to the largest depth of a recipe


@dataclass(frozen=True)
class Family:
    """A backbone family: its depths, blocks, recipe keys and builder."""

    description: str
    builder: str  # "module:function", so that reading a recipe does not import torch
    blocks: dict[int, int]  # number of blocks of each depth; an exit can follow any block
    width: int  # default channels of the first group of blocks
    keys: tuple[str, ...] = ()  # of FAMILY_KEYS
    formula: str = ""  # of its depths; empty if there are only a few
    least_side: int = 8  # smallest side of an image in pixels that survives all poolings

    def depths_near(self, depth: int) -> str:
        """The allowed depths in words, with the nearest ones as examples."""
        if not self.formula:
            return joined(self.blocks, "or")
        near = [other for other in self.blocks if other < depth + 6][-2:]
        return f"{self.formula}, such as {joined(near, 'or')}"


_MODELS = "erde_cli.core.models"
FAMILIES = {
    "resnet": Family(
        "He et al.",
        f"{_MODELS}.resnet:resnet",
        {6 * n + 2: 3 * n for n in _N},
        width=16,
        keys=("widening", "stem", "stem_stride"),
        formula="6n + 2",
    ),
    "wrn": Family(
        "wide, pre-activation",
        f"{_MODELS}.wrn:wrn",
        {6 * n + 4: 3 * n for n in _N},
        width=16,
        keys=("widening", "stem", "dropout"),
        formula="6n + 4",
    ),
    "vgg": Family(
        "with BatchNorm, for 32 pixels",
        f"{_MODELS}.vgg:vgg",
        {8: 5, 13: 10, 16: 13},
        width=64,
    ),
    "airbench": Family(
        "whitening, wide where features are small",
        f"{_MODELS}.airbench:airbench",
        {6 * n + 2: 6 * n for n in _N},
        width=64,
        formula="6n + 2",
        least_side=16,
    ),
}
LIBRARIES = ("torchvision", "timm")  # their networks are named LIBRARY/NAME
# Networks of installed packages are named PACKAGE/NAME (see `packages.py`).
PACKAGED_NETWORK = r"[A-Za-z][\w-]{0,99}/[\w.]{1,100}"


def is_library_backbone(name: str) -> bool:
    """Whether a backbone is a network of a library or package, such as `torchvision/resnet50`."""
    return "/" in name


def joined(items: Iterable[object], word: str) -> str:
    """Items as text: `a, b and c`."""
    *first, last = map(str, items)
    return f"{', '.join(first)} {word} {last}" if first else last


def described_families() -> str:
    """All families with their descriptions."""
    return ", ".join(f"{name} ({family.description})" for name, family in FAMILIES.items())


def described_depths() -> str:
    """The depths of all families, grouped by rule."""
    rules: dict[str, list[str]] = {}
    for name, family in FAMILIES.items():
        first = ", ".join(map(str, islice(family.blocks, 3)))
        rule = f"{family.formula} ({first}, ...)" if family.formula else joined(family.blocks, "or")
        rules.setdefault(rule, []).append(name)
    return ", ".join(
        f"{names[0]} {rule}" + "".join(f", {name} the same" for name in names[1:])
        for rule, names in rules.items()
    )


def described_widths() -> str:
    """The default width of the first family, then other widths with their families."""
    widths: dict[int, list[str]] = {}
    for name, family in FAMILIES.items():
        widths.setdefault(family.width, []).append(name)
    usual, *others = widths
    return f"{usual}" + "".join(f", and {w} for {joined(widths[w], 'and')}" for w in others)


def families_with(key: str) -> str:
    """Names of the families that have a key, separated by commas."""
    return ", ".join(name for name, family in FAMILIES.items() if key in family.keys)
