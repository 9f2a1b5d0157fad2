"""Image files from formulas, of every kind in which clients read other pixels than erde.

Twenty kinds in turn: JPEGs with every EXIF orientation, 16 bits, CMYK, palettes, transparency,
grey, several images, odd sizes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
_ORIENTATION = 0x0112


def write_photos(folder: Path, count: int = 200) -> list[Path]:
    """Write files of all kinds in turn; the same bytes with the same version of Pillow."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_KINDS[n % len(_KINDS)](folder / f"{n:03}", n) for n in range(count)]


def picture(n: int, height: int, width: int) -> Pixels:
    """Shapes with hard edges on a gradient, uint8 [height, width, 3]."""
    y, x, c = np.ogrid[:height, :width, :3]
    wave = 90 * np.sin((x * (n % 5 + 1) + y * (c + 1)) / 19 + n)
    disc = ((x - width * 0.3) ** 2 + (y - height * 0.6) ** 2 < (min(height, width) / 4) ** 2) * 80
    stripes = ((x // 3 + y // 5 + n) % 4 == c) * 50
    values = 90 + wave + disc + stripes
    pixels: Pixels = values.clip(0, 255).astype(np.uint8)
    return pixels


def _sides(n: int) -> tuple[int, int]:
    """Height and width: odd ones, wide and high ones."""
    return 61 + 37 * n % 240, 67 + 53 * n % 320


def _rgb(n: int) -> Image.Image:
    return Image.fromarray(picture(n, *_sides(n)))


def _turned(value: int) -> Callable[[Path, int], Path]:
    def write(place: Path, n: int) -> Path:
        exif = Image.Exif()
        exif[_ORIENTATION] = value
        return _saved(_rgb(n), place, f".turned{value}.jpg", quality=92, exif=exif)

    return write


def _saved(image: Image.Image, place: Path, end: str, **options: Any) -> Path:
    path = place.with_suffix(end)
    image.save(path, **options)
    return path


def _png(path: Path, pixels: NDArray[np.uint16], colour: int) -> Path:
    """A PNG with 16 bits per channel, which Pillow writes only in grey."""
    rows = pixels.astype(">u2").reshape(len(pixels), -1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(body)), (b"IEND", b""))
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    path.write_bytes(content)
    return path


def _deep(n: int) -> NDArray[np.uint16]:
    """16 bits whose lower 8 are not a copy of the upper ones."""
    pixels = picture(n, *_sides(n)).astype(np.uint16)
    return pixels * 256 + (pixels * 7 + n) % 256


def _deep_grey(place: Path, n: int) -> Path:
    return _png(place.with_suffix(".grey16.png"), _deep(n)[..., 0], 0)


def _deep_colour(place: Path, n: int) -> Path:
    return _png(place.with_suffix(".rgb16.png"), _deep(n), 2)


def _inks(place: Path, n: int) -> Path:
    return _saved(_rgb(n).convert("CMYK"), place, ".cmyk.jpg", quality=92)


def _palette(place: Path, n: int) -> Path:
    return _saved(_rgb(n).quantize(60), place, ".palette.png")


def _clear_palette(place: Path, n: int) -> Path:
    return _saved(_rgb(n).quantize(9), place, ".clearpalette.png", transparency=n % 9)


def _alpha(n: int) -> Image.Image:
    return Image.fromarray(picture(n + 3, *_sides(n))[..., 1])


def _transparent(place: Path, n: int) -> Path:
    image = _rgb(n)
    image.putalpha(_alpha(n))
    return _saved(image, place, ".alpha.png")


def _transparent_grey(place: Path, n: int) -> Path:
    image = _rgb(n).convert("L")
    image.putalpha(_alpha(n))
    return _saved(image, place, ".greyalpha.png")


def _grey(place: Path, n: int) -> Path:
    return _saved(_rgb(n).convert("L"), place, ".grey.jpg", quality=92)


def _several(end: str, **options: Any) -> Callable[[Path, int], Path]:
    def write(place: Path, n: int) -> Path:
        others = [Image.fromarray(255 - picture(n + 1, *_sides(n)))]
        return _saved(_rgb(n), place, end, save_all=True, append_images=others, **options)

    return write


def _odd(place: Path, n: int) -> Path:
    sides = ((1, 97), (3, 200), (211, 2), (1, 1), (40, 640), (224, 224), (33, 31))
    return _saved(Image.fromarray(picture(n, *sides[n // len(_KINDS) % 7])), place, ".odd.png")


_KINDS: list[Callable[[Path, int], Path]] = [
    *map(_turned, range(1, 9)), _deep_grey, _deep_colour, _inks, _palette, _clear_palette,
    _transparent, _transparent_grey, _grey, _several(".frames.gif"), _several(".pages.tif"),
    _several(".frames.webp", lossless=True), _odd,
]  # fmt: skip
