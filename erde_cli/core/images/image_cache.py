"""Cache of decoded images: one memory-mapped file for each folder.

The key of a file contains paths, sizes and times of all images, so that a second start does not
read them. Files are written atomically, even if several processes write the same one.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from mmap import MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from erde_cli.core.errors import InputError
from erde_cli.core.events import Observer
from erde_cli.core.figures import byte_size
from erde_cli.core.images.decoded import IMAGES, INDEX, CachedImages, DecodedImages
from erde_cli.core.images.decoders import PixelFormat
from erde_cli.core.images.image_files import Digest, ImageFiles, stat_files
from erde_cli.core.images.pixels import Traits
from erde_cli.core.storage.cache import (
    VARIABLE,
    cache_folder,
    make_room,
    writable_folder,
)
from erde_cli.core.storage.json_files import load_json
from erde_cli.core.storage.temporary import new_folder

# Numbers of each file: checksum of the decoded image, digest, width / height.
_CHECKSUMS, _DIGESTS, _RATIOS = "checksums", "digests", "ratios"
_SAMPLES, _SAMPLE = 256, 4096  # parts of the file that are verified when it is opened; bytes
_LARGEST_RATIO = 1e9  # width / height; an image has fewer pixels
_LARGEST_INDEX = 256_000_000  # bytes; the index has an entry for every unreadable file
# Linux reserves memory for a writable private mapping without this flag, MAP_NORESERVE.
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0


class _Index(BaseModel):
    key: str
    digest: str
    sample: int
    checksums: int
    digests: int
    ratios: int
    unreadable: dict[str, str]
    traits: Traits


def decoded_images(
    root: Path, paths: list[str], pixel_format: PixelFormat, digest: Digest, observer: Observer
) -> DecodedImages:
    """Map the cached images of some files into memory; decode them first if necessary.

    Args:
        root: folder that contains all files.
        paths: of the files.
        pixel_format: side of the decoded images in pixels, and the rules.
        digest: function for the digest of the source; without files it depends only on the classes.
        observer: receives progress, and a warning if the cache cannot be written.

    Raises:
        DataError: a file cannot be opened, or changes while it is read.
        ErdeError: a worker process has died.
    """
    files = stat_files(root, paths, pixel_format, digest, observer)
    key = files.key()
    cache = cache_folder("images")
    images = None if cache is None else _read(cache / key[:32], key, files)
    if images is not None:
        return images
    cache = writable_folder("images", observer)
    if cache is None:
        return _decode_to_memory(files)
    folder = cache / key[:32]
    if folder.exists():
        observer.warning(f"{folder} is damaged. Its images are decoded again.")
    reason = _decode_to_cache(folder, key, files)
    images = None if reason else _read(folder, key, files)
    if images is not None:
        observer.note(f"Decoded images: {byte_size(files.total)}, cached in {folder}")
        return images
    observer.warning(
        f"Cannot cache decoded images in {folder.parent}: "
        f"{reason or 'the written file reads back differently'}. They are decoded again at every "
        f"start. Set another cache folder: export {VARIABLE}=FOLDER"
    )
    return _decode_to_memory(files)


def _decode_to_cache(folder: Path, key: str, files: ImageFiles) -> str | None:
    """Write the cache; return why it failed, or None."""
    try:
        make_room(folder.parent, files.total)
    except InputError as error:
        return error.message.rstrip(".") + (f" ({error.got})" if error.got else "")
    try:
        with new_folder(folder) as workplace:
            _write(workplace, key, files)
            return _put(workplace, folder, lambda: _read(folder, key, files) is not None)
    except OSError as error:
        return error.strerror or str(error)


def _write(workplace: Path, key: str, files: ImageFiles) -> None:
    size = files.total // len(files.paths)
    checksums: list[int] = []

    with (workplace / IMAGES).open("w+b") as handle:

        def put(pixels: bytes | bytearray) -> None:
            handle.write(pixels)
            parts = memoryview(pixels)
            checksums.extend(
                zlib.crc32(parts[start : start + size]) for start in range(0, len(parts), size)
            )

        handle.write(_header(files))
        summary = files.decode(put)
        handle.flush()
        os.fsync(handle.fileno())
        sample = _sample(handle.fileno())
    index: dict[str, Any] = {
        "key": key,
        "digest": summary.digest,
        "sample": sample,
        "traits": summary.traits,
        "unreadable": summary.unreadable,
    }
    columns = {
        _CHECKSUMS: np.array(checksums, np.uint32).tobytes(),
        _DIGESTS: summary.files.tobytes(),
        _RATIOS: summary.ratios.tobytes(),
    }
    for name, content in columns.items():
        (workplace / name).write_bytes(content)
        index[name] = zlib.crc32(content)
    (workplace / INDEX).write_text(json.dumps(index), encoding="utf-8")


def _read(folder: Path, key: str, files: ImageFiles) -> DecodedImages | None:
    """Map a cache into memory; None if it is missing, damaged, or has another key."""
    header = _header(files)
    try:
        index = _Index.model_validate(load_json(folder / INDEX, _LARGEST_INDEX))
        with (folder / IMAGES).open("rb") as handle:
            fits = (
                index.key == key
                and os.fstat(handle.fileno()).st_size == len(header) + files.total
                and handle.read(len(header)) == header
                and index.sample == _sample(handle.fileno())
            )
            if not fits:
                return None
            count = len(files.paths)
            checksums = _column(folder / _CHECKSUMS, np.dtype(np.uint32), count, index.checksums)
            digests = _column(folder / _DIGESTS, np.dtype(np.uint64), count, index.digests)
            ratios = _column(folder / _RATIOS, np.dtype(np.float32), count, index.ratios)
            if not ((ratios > 1 / _LARGEST_RATIO) & (ratios < _LARGEST_RATIO)).all():
                return None
            unreadable = {int(number): why for number, why in index.unreadable.items()}
            mapping = mmap(
                handle.fileno(), 0, flags=MAP_PRIVATE | _NO_RESERVE, prot=PROT_READ | PROT_WRITE
            )
        images = np.frombuffer(mapping, np.uint8, offset=len(header)).reshape(files.shape)
        cached = CachedImages(folder, mapping, checksums)
        return DecodedImages(
            images, index.digest, digests, unreadable, index.traits, ratios, cached
        )
    except (OSError, ValueError):  # including errors of pydantic and json
        return None


def _decode_to_memory(files: ImageFiles) -> DecodedImages:
    images = np.empty(files.total, np.uint8)
    done = 0

    def put(pixels: bytes | bytearray) -> None:
        nonlocal done
        images[done : done + len(pixels)] = np.frombuffer(pixels, np.uint8)
        done += len(pixels)

    return DecodedImages(images.reshape(files.shape), *files.decode(put))


def _column(path: Path, kind: np.dtype[Any], count: int, checksum: int) -> NDArray[Any]:
    """Read an array with one number for each file.

    Raises:
        ValueError: the file is damaged.
    """
    content = path.read_bytes()
    if zlib.crc32(content) != checksum or len(content) != count * kind.itemsize:
        raise ValueError("damaged")
    return np.frombuffer(content, kind)


def _put(workplace: Path, folder: Path, is_whole: Callable[[], bool]) -> str | None:
    """Move the new cache to its place, unless another process already did; None on success."""
    for _ in range(3):
        try:
            workplace.rename(folder)
            return None
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        if is_whole():
            return None
        with new_folder(folder) as bin_, suppress(FileNotFoundError):
            folder.rename(bin_ / "damaged")
    return f"{folder} is in the way"


def _header(files: ImageFiles) -> bytes:
    """Header of the file, in the format of `numpy.save`."""
    header = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": files.shape}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def _sample(handle: int) -> int:
    """Checksum of parts that are spread over a file."""
    last = max(0, os.fstat(handle).st_size - _SAMPLE)
    checksum = 0
    for part in range(_SAMPLES):
        checksum = zlib.crc32(os.pread(handle, _SAMPLE, last * part // (_SAMPLES - 1)), checksum)
    return checksum
