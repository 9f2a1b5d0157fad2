"""Decode image files.

Imports only Pillow, so that a worker process starts within a tenth of a second.
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

VERSION = 3  # increased when the same file gives other pixels

# Accepted formats, whatever the names of the files. Not EPS: Pillow passes it to Ghostscript, which
# runs the file. Not rare formats: each decoder can have vulnerabilities.
FORMATS = frozenset(
    ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI",
     "SGI", "TGA", "TIFF", "WEBP"),
)  # fmt: skip
LARGEST_FILE = 1_000_000_000  # bytes; Pillow's limit of pixels is 716 MB in 16-bit RGBA

# Formats with an unambiguous signature, and their suffixes. Pillow's own table of suffixes requires
# the import of all its 40 formats.
_MARKED = {
    "BMP": ".bmp", "GIF": ".gif", "JPEG": ".jpg .jpeg .jpe .jfif", "PNG": ".png .apng",
    "PPM": ".ppm .pgm .pbm .pnm", "TIFF": ".tif .tiff", "WEBP": ".webp",
}  # fmt: skip
_ANIMATED = ("AVIF", "GIF", "PNG", "TIFF", "WEBP")  # not MPO: a photo with extras of a phone
_BLOCK = 65_536  # bytes read at once
_LIKELY = {suffix: kind for kind, suffixes in _MARKED.items() for suffix in suffixes.split()}


class Decoded(NamedTuple):
    """Some decoded files: SHA-256 of each file, pixels, and errors.

    stamps: size and times of each file after it was read; "" if it could not be opened.
    pixels: uint8 [files, size, size, 3]; 0 for an unreadable file.
    unreadable: position and reason of each file that could not be decoded.
    unopened: position and reason of each file that could not be opened.
    traits: of the readable files together.
    ratios: width / height of each upright image before it was resized; 1 for an unreadable file.
    """

    digests: list[str]
    stamps: list[str]
    pixels: bytes | bytearray
    unreadable: dict[int, str]
    unopened: dict[int, str]
    traits: Traits = Traits()
    ratios: Sequence[float] = ()


class DecodedImage(NamedTuple):
    """One decoded image, its traits, and its width / height before it was resized."""

    image: Image.Image
    traits: Traits
    ratio: float


def decode_files(paths: Sequence[str], size: int, rules: PixelRules = DEFAULT_RULES) -> Decoded:
    """Read every file once, and decode it to `size` x `size` pixels."""
    traits = Traits()
    digests: list[str] = []
    stamps: list[str] = []
    unreadable: dict[int, str] = {}
    unopened: dict[int, str] = {}
    ratios = [1.0] * len(paths)
    # Images are pasted on one sheet: the bytes of each image alone would take 10 % more time.
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
                image, new_traits, ratios[position] = decode(
                    content, size, rules, _LIKELY.get(_suffix(path))
                )
            except Exception as error:  # noqa: BLE001 (decoders can raise anything on bad bytes)
                unreadable[position] = reason_of(error)
            else:
                sheet.paste(image, (0, size * position))
                traits = traits.merged(new_traits) if any(new_traits) else traits
    return Decoded(digests, stamps, sheet.tobytes(), unreadable, unopened, traits, ratios)


@contextmanager
def strict_about_bombs() -> Iterator[None]:
    """Turn the warning for a decompression bomb into an error, and ignore other warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def pillow_settings() -> dict[str, Any]:
    """Version and settings of Pillow that affect pixels, for the key of the cache."""
    return {
        "pillow": __version__,
        "max_pixels": Image.MAX_IMAGE_PIXELS,
        "truncated": ImageFile.LOAD_TRUNCATED_IMAGES,
    }


def stamp(status: os.stat_result) -> str:
    """Size and times of a file, which change with its content."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _content(path: str) -> tuple[bytes | None, str]:
    """Content of a file (None if it is too large) and its stamp; four times as fast as Path."""
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
) -> DecodedImage:
    """Decode the content of a file to an RGB image of `size` x `size` pixels.

    Args:
        content: bytes of the file; None if it is too large.
        size: side of the decoded image in pixels.
        rules: how ambiguous pixels are read.
        likely: format to try first.

    Raises:
        RefusedError: the rules refuse the image.
        Exception: the file is too large, or a decoder fails.
    """
    if content is None:
        raise ValueError(f"larger than {LARGEST_FILE:,} bytes")
    try:
        return _pixels(content, likely, size, rules)
    except RefusedError:
        raise
    except Exception:  # decoders can raise anything on bad bytes or bad metadata
        bare = without_metadata(content)
        if bare is not None:
            with suppress(Exception):  # the first error is more informative
                return _pixels(bare, likely, size, rules)
        raise


def _pixels(content: bytes, likely: str | None, size: int, rules: PixelRules) -> DecodedImage:
    with _opened(content, likely) as image:
        has_frames, is_wide = check_rules(image, rules)
        image.load()
        turned = upright(image)
        rgb, traits = to_rgb(turned, size, rules)
        if is_wide:
            traits = traits.merged(Traits(deep=1, largest=256 * max(rgb.tobytes()) + 255))
        ratio = turned.width / turned.height
        return DecodedImage(rgb, traits._replace(frames=int(has_frames)), ratio)


def header_of(path: str) -> tuple[int, int, str] | None:
    """Width, height and Pillow mode from the header of a file; None if it is not an image."""
    try:
        with strict_about_bombs(), open(path, "rb") as file:  # noqa: PTH123 (without pathlib)
            Image.init()
            formats = sorted(FORMATS & set(Image.OPEN))
            with Image.open(file, formats=formats) as image:
                return (*image.size, image.mode)
    except Exception:  # noqa: BLE001 (decoders can raise anything on bad bytes)
        return None


def check_rules(image: Image.Image, rules: PixelRules) -> tuple[bool, bool]:
    """Check that the rules accept an image.

    Returns:
        Whether the file has several images, and whether 8 of 16 bits of a colour image are read.

    Raises:
        RefusedError: the rules refuse the image.
    """
    has_frames, is_wide = _has_frames(image), _is_wide(image)
    if has_frames and rules.frames == "refuse":
        raise RefusedError("the file contains several images, and the recipe refuses such files")
    if is_wide and rules.bit_depth not in (None, 16):
        raise RefusedError(
            "bit_depth applies only to grey images; other images with 16 bits are read by their "
            "upper 8. Scale the values to 16 bits, or convert the file to 8 bits"
        )
    return has_frames, is_wide


def _has_frames(image: Image.Image) -> bool:
    """Whether a file has a second image; a broken one does not count."""
    try:
        return image.format in _ANIMATED and bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 (decoders can raise anything on bad bytes)
        return False


def _is_wide(image: Image.Image) -> bool:
    """Whether Pillow reads the upper 8 of 16 bits of a colour image."""
    tiles = getattr(image, "tile", ())  # empty after loading
    return image.mode in ("RGB", "RGBA", "LA") and any("16" in str(tile[3]) for tile in tiles)


def _opened(content: bytes, likely: str | None) -> ImageFile.ImageFile:
    """Open an image. Trying the likely format first is faster than trying all."""
    if likely is not None:
        try:
            return Image.open(io.BytesIO(content), formats=(likely,))
        except UnidentifiedImageError:
            pass
    Image.init()
    return Image.open(io.BytesIO(content), formats=sorted(FORMATS & set(Image.OPEN)))


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 (Path takes as long as reading)


def reason_of(error: Exception) -> str:
    """Message for an error that makes a file unreadable."""
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):  # its own message contains a memory address
        return "UnidentifiedImageError: not a supported image format"
    return f"{type(error).__name__}: {error}"
