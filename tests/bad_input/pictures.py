"""Image files, good ones and others, as bytes."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

from PIL import Image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as a file of a format."""
    place = io.BytesIO()
    image.save(place, kind, **options)
    return place.getvalue()


@cache
def png(grey: int = 100, side: int = 8) -> bytes:
    """A grey square."""
    return encoded(Image.new("RGB", (side, side), (grey, grey, grey)), "PNG")


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


@cache
def giant(side: int = 20_000) -> bytes:
    """A whole PNG of side x side black pixels, one bit each: 50 MB in 50 kB."""
    packer = zlib.compressobj(1)
    row = b"\0" * (1 + side // 8)
    rows = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def folder_of_images(train: int = 6, test: int = 3) -> dict[str, bytes]:
    """Files of an image folder with two classes, dark and light."""
    return {
        f"images/{split}/{name}/{number}.png": png(grey + number)
        for split, count in (("train", train), ("test", test))
        for name, grey in (("dark", 20), ("light", 200))
        for number in range(count)
    }
