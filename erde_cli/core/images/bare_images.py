"""Remove metadata from image files that cannot be opened with it. Never imports torch.

The orientation is kept. Pixel data is copied unchanged, and all limits apply to the new file too.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from erde_cli.core.images.orientation import TAG, orientation

_PNG = b"\x89PNG\r\n\x1a\n"
# Kept in addition to critical chunks. Texts are harmless; Pillow still refuses those that expand
# to too much.
_PNG_KEPT = (b"tRNS", b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
_TIFF_XMP = 700
# Sizes, samples, strips, tiles, palettes and parameters of decoders. All are below XMP.
_TIFF_KEPT = frozenset((
    *range(256, 260), 262, 266, 273, TAG, *range(277, 280), 284, 292, 293, 317, 320,
    *range(322, 326), 338, 339, 347, *range(512, 522), *range(529, 533),
))  # fmt: skip


def without_metadata(content: bytes) -> bytes | None:
    """The file without metadata; None if it has none or is not a JPEG, PNG or TIFF."""
    bare: bytes | None = None
    if content[:3] == b"\xff\xd8\xff":
        bare = _bare_jpeg(content)
    elif content[:8] == _PNG:
        bare = _bare_png(content)
    elif content[:4] in _TIFF:
        bare = _bare_tiff(content, _TIFF[content[:4]])
    return None if bare == content else bare


def _bare_jpeg(content: bytes) -> bytes:
    """Drop application segments and comments, except the two that define colours."""
    kept, exif, xmp, at = [], b"", b"", 2
    for start, end in _segments(content):
        marker, body, at = content[start + 1], content[start + 4 : end], end
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif += body[6:]  # long metadata continues in the next segment
        elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = body
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE) or _defines_colours(marker, body):
            kept.append(content[start:end])
    if exif or xmp:
        new_exif = Image.Exif()
        new_exif[TAG] = orientation({"exif": exif, "xmp": xmp})
        body = new_exif.tobytes()
        kept.insert(0, b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    return b"".join((content[:2], *kept, content[at:]))


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each segment before the pixel data, with its marker."""
    at = 2
    while content[at : at + 1] == b"\xff" and len(content) >= at + 4:
        if content[at + 1] == 0xFF:  # markers can be padded
            at += 1
        elif 0xC0 <= content[at + 1] != 0xDA:
            end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
            yield at, end
            at = end
        else:
            return


def _defines_colours(marker: int, body: bytes) -> bool:
    return (marker == 0xE0 and body[:5] == b"JFIF\0" and len(body) >= 14) or (
        marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12
    )


def _bare_png(content: bytes) -> bytes:
    """Drop chunks that no decoder needs, and correct the checksums of kept metadata."""
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
    """Append a directory with the pixel tags of the first image, and point the header to it."""
    (start,) = struct.unpack(order + "L", content[4:8].ljust(4, b"\0"))
    count = int.from_bytes(content[start : start + 2], "little" if order == "<" else "big")
    kept = []
    for at in range(start + 2, min(start + 2 + 12 * count, len(content) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", content, at)
        if tag in _TIFF_KEPT or (tag == _TIFF_XMP and kind in (1, 7)):  # XMP stored as bytes
            kept.append(content[at : at + 12])
    if not kept or len(kept) == count:
        return None
    gap = bytes(len(content) % 2)  # a directory starts at an even offset
    head = content[:4] + struct.pack(order + "L", len(content) + len(gap))
    size = struct.pack(order + "H", len(kept))
    return b"".join((head, content[8:], gap, size, *kept, bytes(4)))
