"""How a camera was held, read from metadata that may be damaged; never imports torch.

Pillow's own way reads all tags and writes them anew, and fails where one of them is odd. It also
stops at the first tag whose value lies outside of the metadata. One tag is wanted here.
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
_INTEGERS = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l"}  # types of EXIF, as struct has them
_ORDERS = {b"II*\0": "<", b"II\0*": "<", b"MM\0*": ">", b"MM*\0": ">"}  # right and as Pillow takes
_XMP = r'tiff:Orientation(?:="|>)([1-8])'
_XMP_BYTES = _XMP.encode()


def upright(image: Image.Image) -> Image.Image:
    """Turn an image of a file as its camera was held, where it says so."""
    image.load()  # the metadata of a PNG may come after its pixels
    if not image.info or image.format == "TIFF":
        return image  # nothing is told, or loading has turned it
    return _turned(image, orientation(image.info))


def upright_given(image: Image.Image) -> Image.Image:
    """Turn an image of a caller, who may have set its orientation by hand; it stays as it is."""
    image.load()
    anew = Image.new("1", (1, 1))
    anew.info = image.info.copy()
    said = _said_by_pillow(image)
    if said != _said_by_pillow(anew):
        return _turned(image, said)
    return upright(image)


def orientation(info: Mapping[Any, Any]) -> int:
    """How the camera was held, from 1 (upright) to 8, by EXIF or else XMP; 1 where none tells."""
    return _of_exif(_exif(info)) or _of_xmp(info) or 1


def _turned(image: Image.Image, how: object) -> Image.Image:
    method = _TURNS.get(how) if isinstance(how, Real) else None  # type: ignore[call-overload]
    return image if method is None else image.transpose(method)


def _said_by_pillow(image: Image.Image) -> object:
    with suppress(Exception):  # its reader of tags raises anything
        return image.getexif().get(TAG)
    return None


def _exif(info: Mapping[Any, Any]) -> bytes:
    exif = info.get("exif")
    if isinstance(exif, bytes):  # text under this name may be anyone's
        return exif
    profile = info.get("Raw profile type exif")  # in PNGs of old, as a line of hexadecimal digits
    if isinstance(profile, str):
        with suppress(ValueError):
            return bytes.fromhex("".join(profile.split("\n")[3:]))
    return b""


def _of_exif(exif: bytes) -> int | None:
    """Orientation in the first directory: the last one that is valid, each judged by itself."""
    for _ in range(2):  # some programs write it twice
        exif = exif.removeprefix(b"Exif\0\0")
    order = _ORDERS.get(exif[:4])
    if order is None or len(exif) < 8:
        return None
    (start,) = struct.unpack_from(order + "L", exif, 4)
    count = int.from_bytes(exif[start : start + 2], "little" if order == "<" else "big")
    entries = exif[start + 2 : start + 2 + 12 * count]
    found = None
    for tag, kind, values, field in struct.iter_unpack(
        order + "HHL4s", entries[: len(entries) // 12 * 12]
    ):
        if tag == TAG and kind in _INTEGERS and values:
            value = _first(exif, field, order, _INTEGERS[kind], values)
            found = value if value in range(1, 9) else found
    return found


def _first(exif: bytes, field: bytes, order: str, kind: str, count: int) -> int | None:
    """Take the first value of an entry, which lies in its field where all of them fit in there."""
    size, at = struct.calcsize(order + kind) * count, 0
    if size > len(field):
        (at,) = struct.unpack(order + "L", field)
        field = exif
    return struct.unpack_from(order + kind, field, at)[0] if at + size <= len(field) else None


def _of_xmp(info: Mapping[Any, Any]) -> int | None:
    xmp = info.get("XML:com.adobe.xmp") or info.get("xmp")
    if isinstance(xmp, str):
        said: re.Match[Any] | None = re.search(_XMP, xmp)
    elif isinstance(xmp, bytes):
        said = re.search(_XMP_BYTES, xmp)
    else:
        return None
    return int(said[1]) if said else None
