"""Rules that turn an image into pixels: transparency, bit depth, frames, crop and resize."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from PIL import Image

_ROWS = 64  # rows of a deep image that are converted at once
_GREY = {"white": 255, "black": 0}
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class RefusedError(ValueError):
    """A readable image that the rules of the recipe refuse."""


class PixelRules(NamedTuple):
    """A recipe's rules for the pixels of its images. Bundles and exports store them.

    transparent: background of transparent pixels; "ignore" uses the stored colour, mostly black.
    bit_depth: used bits of grey images with more than 8; the upper 8 of them are read. None: 16.
    frames: whether the first of several images is read, or the file refused; None: the first, with
    a warning.
    crop_share: share of the short side that a square crop of the centre keeps; None: no crop, the
    whole image is squashed.
    interpolation: filter of the resize, with antialiasing.
    """

    transparent: Literal["white", "black", "ignore"] = "white"
    bit_depth: int | None = None
    frames: Literal["first", "refuse"] | None = None
    crop_share: float | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    @property
    def resize(self) -> Literal["squash", "crop"]:
        """How an image becomes square."""
        return "squash" if self.crop_share is None else "crop"

    def short_side(self, size: int) -> int | None:
        """Short side in pixels before a crop to `size` x `size`; None: no crop."""
        return None if self.crop_share is None else round(size / self.crop_share)

    def decisive(self) -> list[Any]:
        """The settings that affect pixels, for the key of the cache."""
        settings = [self.transparent, self.bit_depth or 16, self.frames == "refuse"]
        resize = [self.crop_share, self.interpolation]
        return settings if resize == [None, "bilinear"] else settings + resize

    def to_json(self) -> dict[str, Any]:
        """Form in bundles and exports, under the keys of a recipe's data section."""
        return {**self._asdict(), "resize": self.resize}


DEFAULT_RULES = PixelRules()  # the defaults of a recipe


class Traits(NamedTuple):
    """Numbers of files to which a rule applies, and the largest value of deep images.

    deep: files with more than 8 bits per channel. transparent: files with pixels that are not
    opaque. frames: files with several images.
    """

    deep: int = 0
    largest: int = 0
    transparent: int = 0
    frames: int = 0

    def merged(self, other: Traits) -> Traits:
        """Traits of both groups of files together."""
        return Traits(
            self.deep + other.deep,
            max(self.largest, other.largest),
            self.transparent + other.transparent,
            self.frames + other.frames,
        )


def used_bits(traits: Traits) -> int:
    """Number of bits that the largest value needs."""
    return next(bits for bits in (8, 10, 12, 14, 16, 64) if traits.largest < 2**bits)


def pixel_warnings(traits: Traits, rules: PixelRules) -> list[str]:
    """Warnings about dark or clipped values and about files with several images."""
    warnings = []
    depth = rules.bit_depth or 16
    used = used_bits(traits)
    if traits.deep and used < depth and not rules.bit_depth:
        warnings.append(
            f"Images with more than 8 bits per channel: {traits.deep:,}. Their largest value is "
            f"{traits.largest:,}, so they probably use {used} bits and look dark when read as "
            f"{depth} bits. For grey images, set bit_depth: {used} in the recipe's data section. "
            "Convert other images to 8 bits."
        )
    if traits.deep and used > depth:
        warnings.append(
            f"Images with more than 8 bits per channel: {traits.deep:,}. bit_depth: {depth} clips "
            f"values above {2**depth - 1:,}; the largest value is {traits.largest:,}."
        )
    if traits.frames and rules.frames is None:
        warnings.append(
            f"Files with several images, such as animated GIFs: {traits.frames:,}. Only the first "
            "image of each is read. To confirm or refuse this, set frames: first or frames: refuse "
            "in the recipe's data section."
        )
    return warnings


def to_rgb(image: Image.Image, size: int, rules: PixelRules) -> tuple[Image.Image, Traits]:
    """Convert an image to RGB, and squash or crop it to `size` x `size` pixels.

    Raises:
        RefusedError: the image is too long to be cropped.
        ValueError: the pixels have no defined range.
    """
    traits = Traits()
    if image.mode.startswith("I;16") or image.mode == "I":
        scaled = image.format == "PPM"  # Pillow scales values by the maximum in the header
        image, largest = _shallow(image, 16 if scaled else rules.bit_depth)
        traits = Traits() if scaled else Traits(deep=1, largest=largest)
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no defined range")
    elif image.has_transparency_data:
        image, is_transparent = _opaque(image, rules)
        traits = Traits(transparent=int(is_transparent))
    if image.mode != "RGB":
        image = image.convert("RGB")
    return _square(image, size, rules), traits


def _square(image: Image.Image, size: int, rules: PixelRules) -> Image.Image:
    """Resize an image to `size` x `size` pixels; a crop has torchvision's rounding.

    One resize of the crop's box is faster, but its rounded corners change one pixel in fifteen.

    Source: Resize and CenterCrop of torchvision.transforms.
    """
    short, shortest = rules.short_side(size), min(image.size)
    if short is None:
        return _resized(image, (size, size), rules)
    width, height = (int(short * side / shortest) for side in image.size)
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise RefusedError(
            f"before the crop, it would be resized to {width:,} x {height:,} pixels; the limit is "
            f"{limit:,} in total. Leave it out, or set resize: squash"
        )
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = _resized(image, (width, height), rules)
    return resized.crop((left, top, left + size, top + size))


def _resized(image: Image.Image, sides: tuple[int, int], rules: PixelRules) -> Image.Image:
    return image if image.size == sides else image.resize(sides, _FILTERS[rules.interpolation])


def _opaque(image: Image.Image, rules: PixelRules) -> tuple[Image.Image, bool]:
    """Paste an image on its background; also return whether any pixel is not opaque."""
    with_alpha = image.convert("RGBA")
    alpha = with_alpha.getchannel("A")
    is_transparent = alpha.getextrema()[0] != 255
    if rules.transparent == "ignore":
        return (with_alpha if image.mode == "P" else image), is_transparent
    if not is_transparent:
        return with_alpha, False
    background = Image.new("RGB", image.size, (_GREY[rules.transparent],) * 3)
    background.paste(with_alpha, mask=alpha)
    return background, True


def _shallow(image: Image.Image, bit_depth: int | None) -> tuple[Image.Image, int]:
    """Reduce values to their upper 8 bits; also return the largest. Pillow would clip at 255."""
    import numpy as np

    deep = np.asarray(image)
    largest = int(deep.max())
    bits = (bit_depth or 16) - 8
    shallow = np.empty(deep.shape, np.uint8)
    for start in range(0, len(deep), _ROWS):  # a converted copy would be larger than the image
        rows = deep[start : start + _ROWS].astype(np.int64).clip(0, 65535) >> bits
        shallow[start : start + _ROWS] = rows.clip(0, 255)
    return Image.fromarray(shallow), largest
