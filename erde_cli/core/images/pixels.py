"""How an image becomes RGB pixels where its file leaves that open: part of a model's contract."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from PIL import Image

_ROWS = 64  # of a deep image, made shallow at once
_GREY = {"white": 255, "black": 0}


class RefusedError(ValueError):
    """An image that could be read, but not by the rules of the recipe."""


class PixelRules(NamedTuple):
    """What a recipe says of such images; a bundle and an export carry it to wherever they are used.

    transparent: transparent pixels are laid on white or black; "ignore" takes the colour that a
    file holds under them, mostly black.
    bit_depth: of values stored in more than 8 bits, of which the upper 8 are taken; None: 16.
    frames: of a file with several images the first is taken, or it is unreadable; None: the first,
    with a warning.
    """

    transparent: Literal["white", "black", "ignore"] = "white"
    bit_depth: int | None = None
    frames: Literal["first", "refuse"] | None = None

    def decisive(self) -> list[Any]:
        """What of it decides pixels."""
        return [self.transparent, self.bit_depth or 16, self.frames == "refuse"]


DEFAULT_RULES = PixelRules()  # where a recipe says nothing else


class Traits(NamedTuple):
    """What was met while files were decoded: numbers of files, and the largest deep value.

    deep: files with more than 8 bits per channel. transparent: with pixels that are not opaque.
    frames: with several images.
    """

    deep: int = 0
    largest: int = 0
    transparent: int = 0
    frames: int = 0

    def and_(self, other: Traits) -> Traits:
        """Those of two groups of files."""
        return Traits(
            self.deep + other.deep,
            max(self.largest, other.largest),
            self.transparent + other.transparent,
            self.frames + other.frames,
        )


def used_bits(traits: Traits) -> int:
    """Bits that the deep values which were met need."""
    return next(bits for bits in (8, 10, 12, 14, 16, 64) if traits.largest < 2**bits)


def doubts(traits: Traits, rules: PixelRules) -> list[str]:
    """What a user should look into: values that come out dark or clipped, images left out."""
    found = []
    depth = rules.bit_depth or 16
    used = used_bits(traits)
    if traits.deep and used < depth and not rules.bit_depth:
        found.append(
            f"Images with more than 8 bits per channel: {traits.deep:,}, but with no value above "
            f"{traits.largest:,}, as if {used} bits were in use: read as {depth} bits they come "
            f"out dark. Where that is so, put bit_depth: {used} into the recipe's data section "
            "(grey images), or convert them to 8 bits."
        )
    if traits.deep and used > depth:
        found.append(
            f"Images with more than 8 bits per channel: {traits.deep:,}, with values up to "
            f"{traits.largest:,}. What is above {2**depth - 1:,} is clipped by bit_depth: {depth}."
        )
    if traits.frames and rules.frames is None:
        found.append(
            f"Files with several images, as animated GIFs and TIFFs are: {traits.frames:,}. The "
            "first image of each is used; settle it with frames: first (or refuse) in the recipe's "
            "data section."
        )
    return found


def to_rgb(image: Image.Image, size: int, rules: PixelRules) -> tuple[Image.Image, Traits]:
    """Turn any image into RGB of size x size; the whole image is kept, and squashed.

    Raises:
        ValueError: its pixels have no agreed range.
    """
    traits = Traits()
    if image.mode.startswith("I;16") or image.mode == "I":
        scaled = image.format == "PPM"  # its header says how large values are: Pillow goes by it
        image, largest = _shallow(image, 16 if scaled else rules.bit_depth)
        traits = Traits() if scaled else Traits(deep=1, largest=largest)
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    elif image.has_transparency_data:
        image, seen_through = _opaque(image, rules)
        traits = Traits(transparent=int(seen_through))
    if image.mode != "RGB":
        image = image.convert("RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return image, traits


def _opaque(image: Image.Image, rules: PixelRules) -> tuple[Image.Image, bool]:
    """Lay an image on a background; also whether any of its pixels is not opaque."""
    with_alpha = image.convert("RGBA")
    alpha = with_alpha.getchannel("A")
    seen_through = alpha.getextrema()[0] != 255
    if rules.transparent == "ignore":
        return (with_alpha if image.mode == "P" else image), seen_through
    if not seen_through:
        return with_alpha, False
    background = Image.new("RGB", image.size, (_GREY[rules.transparent],) * 3)
    background.paste(with_alpha, mask=alpha)
    return background, True


def _shallow(image: Image.Image, bit_depth: int | None) -> tuple[Image.Image, int]:
    """Take the upper 8 of some bits; also the largest value. Pillow would clip them at 255."""
    import numpy as np

    deep = np.asarray(image)
    largest = int(deep.max())
    bits = (bit_depth or 16) - 8
    shallow = np.empty(deep.shape, np.uint8)
    for start in range(0, len(deep), _ROWS):  # a copy of all of it would be larger than the image
        rows = deep[start : start + _ROWS].astype(np.int64).clip(0, 65535) >> bits
        shallow[start : start + _ROWS] = rows.clip(0, 255)
    return Image.fromarray(shallow), largest
