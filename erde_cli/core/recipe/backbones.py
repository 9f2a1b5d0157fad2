"""Families of backbones: which depths, keys and sides of images each has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_VGG_BLOCKS = {8: 5, 13: 10, 16: 13}


@dataclass(frozen=True)
class Family:
    """What a backbone's family decides: its depths, its blocks, and the keys it does not have."""

    depths: str
    has_depth: Callable[[int], bool]
    blocks: Callable[[int], int]
    width: int
    lacks: tuple[str, ...]
    least_side: int = 8  # of images in pixels, so that something is left after all poolings

    def depth_rule(self, name: str, depth: int) -> str:
        """Say which depths there are, the nearest ones by number."""
        near = [other for other in range(8, depth + 6) if self.has_depth(other)][-2:]
        such = f", such as {' or '.join(map(str, near))}" if "n" in self.depths else ""
        return f"must be {self.depths}{such} for {name}"


FAMILIES = {
    "resnet": Family(
        "6n + 2",
        lambda depth: depth >= 8 and depth % 6 == 2,
        lambda depth: (depth - 2) // 2,
        width=16,
        lacks=("dropout",),
    ),
    "airbench": Family(
        "6n + 2",
        lambda depth: depth >= 8 and depth % 6 == 2,
        lambda depth: depth - 2,
        width=64,
        lacks=("widening", "stem", "stem_stride", "dropout"),
        least_side=16,
    ),
    "wrn": Family(
        "6n + 4",
        lambda depth: depth >= 10 and depth % 6 == 4,
        lambda depth: (depth - 4) // 2,
        width=16,
        lacks=("stem_stride",),
    ),
    "vgg": Family(
        "8, 13 or 16",
        _VGG_BLOCKS.__contains__,
        _VGG_BLOCKS.__getitem__,
        width=64,
        lacks=("widening", "stem", "stem_stride", "dropout"),
    ),
}
