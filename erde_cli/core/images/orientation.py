"""Read the orientation of an image from metadata that can be damaged. Never imports torch.

Pillow reads and rewrites all tags, and fails if one of them is damaged. It also stops at the first
tag whose value is outside of the metadata. This module reads only one tag.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from numbers import Real
from typing import Any

from PIL import Image

TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_INTEGERS = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l"}  # EXIF types as codes of struct
# Correct headers, and those that Pillow accepts as well.
_ORDERS = {b"II*\0": "<", b"II\0*": "<", b"MM\0*": ">", b"MM*\0": ">"}
_XMP = re.compile(r'tiff:Orientation(?:="|>)([1-8])')


def upright(image: Image.Image) -> Image.Image:
    """Rotate or mirror an image from a file upright, by its metadata."""
    image.load()  # the metadata of a PNG can follow its pixels
    if not image.info or image.format == "TIFF":
        return image  # without metadata, or already rotated by Pillow
    return _rotated(image, orientation(image.info))


def upright_given(image: Image.Image) -> Image.Image:
    """A caller's image, rotated upright. The caller can have set the orientation by hand."""
    image.load()
    from_file = Image.new("1", (1, 1))
    from_file.info = image.info.copy()
    current = _pillow_orientation(image)
    if current != _pillow_orientation(from_file):
        return _rotated(image, current)
    return upright(image)


def orientation(info: Mapping[Any, Any]) -> int:
    """Orientation from EXIF or else XMP, 1 (upright) to 8; 1 if there is none."""
    return _of_exif(_exif(info)) or _of_xmp(info) or 1


def _rotated(image: Image.Image, value: object) -> Image.Image:
    method = _TURNS.get(value) if isinstance(value, Real) else None  # type: ignore[call-overload]
    return image if method is None else image.transpose(method)


def _pillow_orientation(image: Image.Image) -> object:
    with suppress(Exception):  # Pillow can raise anything on bad tags
        return image.getexif().get(TAG)
    return None


def _exif(info: Mapping[Any, Any]) -> bytes:
    exif = info.get("exif")
    if isinstance(exif, bytes):  # a text with this name is not EXIF
        return exif
    profile = info.get("Raw profile type exif")  # in old PNGs, as hexadecimal digits
    if isinstance(profile, str):
        with suppress(ValueError):
            return bytes.fromhex("".join(profile.split("\n")[3:]))
    return b""


def _of_exif(exif: bytes) -> int | None:
    """Last valid orientation in the first directory."""
    for _ in range(2):  # some programs write it twice
        exif = exif.removeprefix(b"Exif\0\0")
    order = _ORDERS.get(exif[:4])
    if order is None or len(exif) < 8:
        return None
    (start,) = struct.unpack_from(order + "L", exif, 4)
    count = int.from_bytes(exif[start : start + 2], "little" if order == "<" else "big")
    entries = exif[start + 2 : start + 2 + 12 * count]
    valid = None
    for tag, kind, values, field in struct.iter_unpack(
        order + "HHL4s", entries[: len(entries) // 12 * 12]
    ):
        if tag == TAG and kind in _INTEGERS and values:
            value = _first(exif, field, order, _INTEGERS[kind], values)
            valid = value if value in range(1, 9) else valid
    return valid


def _first(exif: bytes, field: bytes, order: str, kind: str, count: int) -> int | None:
    """First value of an entry. The field holds the values if they fit, else their offset."""
    size, at = struct.calcsize(order + kind) * count, 0
    if size > len(field):
        (at,) = struct.unpack(order + "L", field)
        field = exif
    return struct.unpack_from(order + kind, field, at)[0] if at + size <= len(field) else None


def _of_xmp(info: Mapping[Any, Any]) -> int | None:
    xmp = info.get("XML:com.adobe.xmp") or info.get("xmp")
    text = xmp.decode("latin-1") if isinstance(xmp, bytes) else xmp
    match = _XMP.search(text) if isinstance(text, str) else None
    return int(match[1]) if match else None
