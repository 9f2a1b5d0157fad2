"""One image file becomes pixels; also what a process beside this one does all day.

Needs Pillow alone, so that such a process is at work within a tenth of a second: decoding small
files is bound by Python itself, where threads would only wait for each other.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, BinaryIO, NamedTuple

from PIL import Image, ImageFile, UnidentifiedImageError, __version__

VERSION = 2  # raised when the same file would become other pixels

# What files may be, whatever their names say. Not EPS: Pillow hands it to Ghostscript, a program
# that runs the file. Nor what hardly anyone has, as each format is a decoder that can have holes.
FORMATS = frozenset(
    ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI",
     "SGI", "TGA", "TIFF", "WEBP"),
)  # fmt: skip
LARGEST_FILE = 1_000_000_000  # bytes; as many pixels as Pillow takes have 716 MB in 16-bit RGBA

# Formats that begin with bytes of their own: a file with such a beginning is nothing else. Pillow's
# own table of endings is there only once all of its 40 formats are imported.
_MARKED = {
    "BMP": ".bmp", "GIF": ".gif", "JPEG": ".jpg .jpeg .jpe .jfif", "PNG": ".png .apng",
    "PPM": ".ppm .pgm .pbm .pnm", "TIFF": ".tif .tiff", "WEBP": ".webp",
}  # fmt: skip
_BLOCK = 65_536  # bytes read at once
_ROWS = 64  # of a deep image, made shallow at once
_LIKELY = {ending: kind for kind, endings in _MARKED.items() for ending in endings.split()}


class Decoded(NamedTuple):
    """Some files: SHA-256 of their bytes, pixels one after the other, and what went wrong where.

    stamps: sizes and times when they had been read; "" where they could not be opened.
    pixels: uint8 [files, size, size, 3]; 0 where a file is no readable image.
    unreadable: position and reason of each of those. unopened: those that gave not even bytes.
    """

    digests: list[str]
    stamps: list[str]
    pixels: bytes | bytearray
    unreadable: dict[int, str]
    unopened: dict[int, str]


def to_rgb(image: Image.Image, size: int) -> Image.Image:
    """Turn any image into RGB of size x size; the whole image is kept, and squashed."""
    if image.mode.startswith("I;16") or image.mode == "I":
        image = _shallow(image)
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode != "RGB":
        image = image.convert("RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return image


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its camera was held, where it says so."""
    if image.format == "PNG" and not image.info:
        return image  # whatever tells how a camera was held would be in there
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def decode_files(paths: Sequence[str], size: int) -> Decoded:
    """Read every file once: digest and pixels."""
    digests: list[str] = []
    stamps: list[str] = []
    unreadable: dict[int, str] = {}
    unopened: dict[int, str] = {}
    # Images are put on one sheet: taking the bytes of each by itself costs a tenth of the time.
    sheet = Image.new("RGB", (size, size * len(paths)))
    with strict_about_bombs():
        for position, path in enumerate(paths):
            content: bytes | None = b""
            changed = ""
            try:
                content, changed = _content(path)
            except (OSError, ValueError) as error:
                unopened[position] = getattr(error, "strerror", None) or str(error)
            stamps.append(changed)
            digests.append(hashlib.sha256(content or b"").hexdigest())
            try:
                image = _decode(content, _LIKELY.get(_ending(path)), size)
            except Exception as error:  # noqa: BLE001 (decoders raise anything on bad bytes)
                unreadable[position] = _reason(error)
            else:
                sheet.paste(image, (0, size * position))
    return Decoded(digests, stamps, sheet.tobytes(), unreadable, unopened)


@contextmanager
def strict_about_bombs() -> Iterator[None]:
    """An image that is far too large is an error; no other warning makes a file unreadable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def pillow_settings() -> dict[str, Any]:
    """What decides pixels beside the bytes of a file: goes into the key of what is kept."""
    return {
        "pillow": __version__,
        "max_pixels": Image.MAX_IMAGE_PIXELS,
        "truncated": ImageFile.LOAD_TRUNCATED_IMAGES,
    }


def serve() -> None:
    """Answer requests on stdin, until it ends: one line of JSON each, both ways, and the pixels."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a decoder prints is no answer
        for line in sys.stdin.buffer:
            request = json.loads(line)
            Image.MAX_IMAGE_PIXELS = request["max_pixels"]
            ImageFile.LOAD_TRUNCATED_IMAGES = request["truncated"]
            _answer(decode_files(request["paths"], request["size"]), answers)


def write_request(stream: IO[bytes], paths: Sequence[str], size: int) -> None:
    """Ask a serving process for files."""
    request = {"paths": list(paths), "size": size, **pillow_settings()}
    stream.write(json.dumps(request).encode() + b"\n")
    stream.flush()


def read_answer(stream: IO[bytes]) -> Decoded:
    """Take what a serving process found.

    Raises:
        EOFError: it is no more.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    said = json.loads(line)
    pixels = bytearray(said["bytes"])
    if stream.readinto(pixels) != len(pixels):  # type: ignore[attr-defined]
        raise EOFError
    unreadable, unopened = (
        {int(position): reason for position, reason in said[name].items()}
        for name in ("unreadable", "unopened")
    )
    return Decoded(said["digests"], said["stamps"], pixels, unreadable, unopened)


def _answer(found: Decoded, stream: BinaryIO) -> None:
    said = {
        "digests": found.digests,
        "stamps": found.stamps,
        "unreadable": found.unreadable,
        "unopened": found.unopened,
        "bytes": len(found.pixels),
    }
    stream.write(json.dumps(said).encode() + b"\n")
    stream.write(found.pixels)
    stream.flush()


def stamp(status: os.stat_result) -> str:
    """What changes with a file's content."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _content(path: str) -> tuple[bytes | None, str]:
    """Bytes of a file, None of a giant, and its stamp; in a quarter of the time Path takes."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        left = LARGEST_FILE if status.st_size <= LARGEST_FILE else 0
        parts = [os.read(handle, _BLOCK)]
        while len(parts[-1]) == _BLOCK and left > 0:
            parts.append(os.read(handle, _BLOCK))
            left -= _BLOCK
        changed = stamp(os.fstat(handle))
    finally:
        os.close(handle)
    if left <= 0:
        return None, changed
    return (parts[0] if len(parts) == 1 else b"".join(parts)), changed


def _decode(content: bytes | None, likely: str | None, size: int) -> Image.Image:
    if content is None:
        raise ValueError(f"larger than {LARGEST_FILE:,} bytes")
    with _opened(content, likely) as image:
        image.load()
        return to_rgb(upright(image), size)


def _opened(content: bytes, likely: str | None) -> ImageFile.ImageFile:
    """Open an image; asking every format whether it is one of its own takes a while."""
    if likely is not None:
        try:
            return Image.open(io.BytesIO(content), formats=(likely,))
        except UnidentifiedImageError:
            pass
    Image.init()
    return Image.open(io.BytesIO(content), formats=sorted(FORMATS & set(Image.OPEN)))


def _shallow(image: Image.Image) -> Image.Image:
    """Take the upper 8 of 16 bits; Pillow would clip them at 255. 32 bits may hold 16 or only 8."""
    import numpy as np

    deep = np.asarray(image)
    bits = 0 if image.mode == "I" and deep.max() <= 255 else 8
    shallow = np.empty(deep.shape, np.uint8)
    for start in range(0, len(deep), _ROWS):  # a copy of all of it would be larger than the image
        rows = deep[start : start + _ROWS].astype(np.int64).clip(0, 65535)
        shallow[start : start + _ROWS] = rows >> bits
    return Image.fromarray(shallow)


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 (Path's takes as long as reading)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its own text names an address in memory
        return "UnidentifiedImageError: no known format of images"
    return f"{type(error).__name__}: {error}"
