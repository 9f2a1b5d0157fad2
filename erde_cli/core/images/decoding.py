"""An image file becomes pixels.

Needs Pillow alone, so that a process that decodes is at work within a tenth of a second.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from PIL import Image, ImageFile, UnidentifiedImageError, __version__

from erde_cli.core.images.bare_images import without_metadata
from erde_cli.core.images.orientation import upright
from erde_cli.core.images.pixels import DEFAULT_RULES, PixelRules, RefusedError, Traits, to_rgb

VERSION = 3  # raised when the same file would become other pixels

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
_MOVING = ("AVIF", "GIF", "PNG", "TIFF", "WEBP")  # not MPO: a photo with what a phone adds to it
_BLOCK = 65_536  # bytes read at once
_LIKELY = {ending: kind for kind, endings in _MARKED.items() for ending in endings.split()}


class Decoded(NamedTuple):
    """Some files: SHA-256 of their bytes, pixels one after the other, and what went wrong where.

    stamps: sizes and times when they had been read; "" where they could not be opened.
    pixels: uint8 [files, size, size, 3]; 0 where a file is no readable image.
    unreadable: position and reason of each of those. unopened: those that gave not even bytes.
    traits: what those that could be read have that rules speak of.
    """

    digests: list[str]
    stamps: list[str]
    pixels: bytes | bytearray
    unreadable: dict[int, str]
    unopened: dict[int, str]
    traits: Traits = Traits()


def decode_files(paths: Sequence[str], size: int, rules: PixelRules = DEFAULT_RULES) -> Decoded:
    """Read every file once: digest and pixels."""
    traits = Traits()
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
                image, met = decode(content, size, rules, _LIKELY.get(_ending(path)))
            except Exception as error:  # noqa: BLE001 (decoders raise anything on bad bytes)
                unreadable[position] = reason_of(error)
            else:
                sheet.paste(image, (0, size * position))
                traits = traits.and_(met) if any(met) else traits
    return Decoded(digests, stamps, sheet.tobytes(), unreadable, unopened, traits)


@contextmanager
def strict_about_bombs() -> Iterator[None]:
    """An image that is far too large is an error; no other warning makes a file unreadable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def pillow_settings() -> dict[str, Any]:
    """What decides pixels apart from the bytes of a file: goes into the key of what is kept."""
    return {
        "pillow": __version__,
        "max_pixels": Image.MAX_IMAGE_PIXELS,
        "truncated": ImageFile.LOAD_TRUNCATED_IMAGES,
    }


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


def decode(
    content: bytes | None, size: int, rules: PixelRules, likely: str | None = None
) -> tuple[Image.Image, Traits]:
    """Turn the bytes of a file into RGB of size x size; whatever is wrong with them is raised.

    Args:
        content: None where there are too many.
        size: side of the image in pixels.
        rules: of what files leave open.
        likely: a format to try before all others.
    """
    if content is None:
        raise ValueError(f"larger than {LARGEST_FILE:,} bytes")
    try:
        return _pixels(content, likely, size, rules)
    except RefusedError:
        raise
    except Exception:  # decoders raise anything on bad bytes, or on bad metadata
        bare = without_metadata(content)
        if bare is not None:
            with suppress(Exception):  # what is wrong with the file itself says more
                return _pixels(bare, likely, size, rules)
        raise


def _pixels(
    content: bytes, likely: str | None, size: int, rules: PixelRules
) -> tuple[Image.Image, Traits]:
    with _opened(content, likely) as image:
        several, wide = check_rules(image, rules)
        image.load()
        turned, traits = to_rgb(upright(image), size, rules)
        if wide:
            traits = traits.and_(Traits(deep=1, largest=256 * max(turned.tobytes()) + 255))
        return turned, traits._replace(frames=int(several))


def header_of(path: str) -> tuple[int, int, str] | None:
    """Width and height in pixels, and Pillow's mode, as a file's header says; None: no image."""
    try:
        with strict_about_bombs(), open(path, "rb") as file:  # noqa: PTH123 (without pathlib)
            Image.init()
            formats = sorted(FORMATS & set(Image.OPEN))
            with Image.open(file, formats=formats) as image:
                return (*image.size, image.mode)
    except Exception:  # noqa: BLE001 (decoders raise anything on bad bytes)
        return None


def check_rules(image: Image.Image, rules: PixelRules) -> tuple[bool, bool]:
    """Check that the recipe allows an image; say if it is one of several, and read by 8 of 16 bits.

    Raises:
        RefusedError: it does not.
    """
    several, wide = _has_frames(image), _is_wide(image)
    if several and rules.frames == "refuse":
        raise RefusedError("it holds several images, and the recipe refuses such files")
    if wide and rules.bit_depth not in (None, 16):
        raise RefusedError(
            "bit_depth is for grey images: of 16 bits in colour or with transparency the upper 8 "
            "are read. Scale the values up, or convert the file to 8 bits"
        )
    return several, wide


def _has_frames(image: Image.Image) -> bool:
    """Whether there are more images than the first one; a broken second one is none."""
    try:
        return image.format in _MOVING and bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 (decoders raise anything on bad bytes)
        return False


def _is_wide(image: Image.Image) -> bool:
    """Whether Pillow is about to take the upper 8 of 16 bits of a colour image."""
    tiles = getattr(image, "tile", ())  # empty once it is loaded
    return image.mode in ("RGB", "RGBA", "LA") and any("16" in str(tile[3]) for tile in tiles)


def _opened(content: bytes, likely: str | None) -> ImageFile.ImageFile:
    """Open an image; asking every format whether it is one of its own takes a while."""
    if likely is not None:
        try:
            return Image.open(io.BytesIO(content), formats=(likely,))
        except UnidentifiedImageError:
            pass
    Image.init()
    return Image.open(io.BytesIO(content), formats=sorted(FORMATS & set(Image.OPEN)))


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 (Path's takes as long as reading)


def reason_of(error: Exception) -> str:
    """What is wrong with a file."""
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):  # its own text names an address in memory
        return "UnidentifiedImageError: no known format of images"
    return f"{type(error).__name__}: {error}"
