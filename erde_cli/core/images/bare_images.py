"""A file without metadata, for an image that could not be opened with it; never imports torch.

What says how the camera was held is kept. Pixels are copied as they are, and all limits hold for
the new file as they did for the old one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from erde_cli.core.images.orientation import TAG, orientation

_PNG = b"\x89PNG\r\n\x1a\n"
# Besides the critical chunks. Texts do no harm, and those that unfold to too much stay an error.
_PNG_KEPT = (b"tRNS", b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
_TIFF_XMP = 700
# Sizes, samples, strips, tiles, palettes and what decoders are told. Each below XMP.
_TIFF_KEPT = frozenset((
    *range(256, 260), 262, 266, 273, TAG, *range(277, 280), 284, 292, 293, 317, 320,
    *range(322, 326), 338, 339, 347, *range(512, 522), *range(529, 533),
))  # fmt: skip


def without_metadata(content: bytes) -> bytes | None:
    """Bytes of the same picture; None: there is no metadata, or of another format than three."""
    bare: bytes | None = None
    if content[:3] == b"\xff\xd8\xff":
        bare = _bare_jpeg(content)
    elif content[:8] == _PNG:
        bare = _bare_png(content)
    elif content[:4] in _TIFF:
        bare = _bare_tiff(content, _TIFF[content[:4]])
    return None if bare == content else bare


def _bare_jpeg(content: bytes) -> bytes:
    """Drop segments of applications and comments; two of them tell decoders the colours."""
    kept, exif, xmp, at = [], b"", b"", 2
    for start, end in _segments(content):
        marker, body, at = content[start + 1], content[start + 4 : end], end
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif += body[6:]  # a long one goes on in the next segment
        elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = body
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE) or _tells_colours(marker, body):
            kept.append(content[start:end])
    said = Image.Exif()
    said[TAG] = orientation({"exif": exif, "xmp": xmp})
    held = said.tobytes()
    turn = [b"\xff\xe1", struct.pack(">H", len(held) + 2), held] if exif or xmp else []
    return b"".join((content[:2], *turn, *kept, content[at:]))


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each segment, marker included, up to the pixels."""
    at = 2
    while content[at : at + 1] == b"\xff" and len(content) >= at + 4:
        if content[at + 1] == 0xFF:  # a marker may be padded
            at += 1
        elif 0xC0 <= content[at + 1] != 0xDA:
            end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
            yield at, end
            at = end
        else:
            return


def _tells_colours(marker: int, body: bytes) -> bool:
    return (marker == 0xE0 and body[:5] == b"JFIF\0" and len(body) >= 14) or (
        marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12
    )


def _bare_png(content: bytes) -> bytes:
    """Drop chunks that no decoder needs; of the others, wrong sums of metadata are put right."""
    kept, at = [_PNG], 8
    while len(content) >= at + 12:
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        kind = content[at + 4 : at + 8]
        if kind[:1].isupper():
            kept.append(content[at:end])
        elif kind in _PNG_KEPT and end <= len(content):
            body = content[at + 4 : end - 4]
            kept += [content[at : at + 4], body, struct.pack(">I", zlib.crc32(body))]
        at = end
    return b"".join((*kept, content[at:]))


def _bare_tiff(content: bytes, order: str) -> bytes | None:
    """Append a directory of the first image that has the tags of its pixels, and point to it."""
    (start,) = struct.unpack(order + "L", content[4:8].ljust(4, b"\0"))
    count = int.from_bytes(content[start : start + 2], "little" if order == "<" else "big")
    kept = []
    for at in range(start + 2, min(start + 2 + 12 * count, len(content) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", content, at)
        if tag in _TIFF_KEPT or (tag == _TIFF_XMP and kind in (1, 7)):  # as bytes
            kept.append(content[at : at + 12])
    if not kept or len(kept) == count:
        return None
    gap = bytes(len(content) % 2)  # a directory begins at an even offset
    head = content[:4] + struct.pack(order + "L", len(content) + len(gap))
    size = struct.pack(order + "H", len(kept))
    return b"".join((head, content[8:], gap, size, *kept, bytes(4)))
