"""Decoded images of a folder in one file of the user's cache, mapped into memory.

The file belongs to a key: paths, sizes and times of all image files, so that a second start reads
none of them. It appears whole or not at all, whoever else makes it at the same time.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from mmap import MADV_DONTNEED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.cache import VARIABLE, cache_folder, in_words, make_room
from erde_cli.core.data.image_files import Digest, ImageFiles, look_at
from erde_cli.core.data.sources import ImageArray, IntArray
from erde_cli.core.errors import DataError, InputError
from erde_cli.core.observer import Observer
from erde_cli.core.temporary import new_folder

_IMAGES, _CHECKSUMS, _INDEX = "images.npy", "checksums.npy", "index.json"
_BYTES_AT_ONCE = 16_000_000
_SAMPLES, _SAMPLE = 256, 4096  # parts of the file that are compared when it is opened; bytes
# Linux counts a private mapping that could be written to as memory, unless it is told not to.
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0


@dataclass(frozen=True)
class DecodedImages:
    """All images of a source at one size, uint8 [files, size, size, 3], and what they came from.

    digest: of the source. unreadable: number and reason of files that are no image; their pixels
    are 0. kept: the file that the images lie in, or None where they are held in memory.
    """

    images: ImageArray
    digest: str
    unreadable: dict[int, str]
    kept: Kept | None = None

    @property
    def mapping(self) -> mmap | None:
        """The mapped file, if there is one."""
        return None if self.kept is None else self.kept.mapping

    def take(self, numbers: IntArray) -> ImageArray:
        """Copy some images into memory; nothing else of the file stays there.

        Raises:
            DataError: the file is damaged.
        """
        taken = np.empty((len(numbers), *self.images.shape[1:]), np.uint8)
        for part in self._parts(numbers):
            taken[part] = self.images[numbers[part]]
            if self.kept is not None:
                self.kept.check(taken[part], numbers[part])
        return taken

    def check(self, numbers: IntArray) -> None:
        """See that some images are still what was decoded, before they are used where they lie.

        Raises:
            DataError: the file is damaged.
        """
        for part in self._parts(numbers) if self.kept else ():
            assert self.kept is not None  # noqa: S101
            self.kept.check(self.images[numbers[part]], numbers[part])

    def _parts(self, numbers: IntArray) -> Iterator[slice]:
        step = max(1, _BYTES_AT_ONCE // self.images[0].size)
        for start in range(0, len(numbers), step):
            yield slice(start, start + step)
            release(self.mapping)


@dataclass(frozen=True)
class Kept:
    """A file of decoded images, mapped, and the CRC-32 of each of them, uint32 [files]."""

    folder: Path
    mapping: mmap
    checksums: NDArray[np.uint32]

    def check(self, images: ImageArray, numbers: IntArray) -> None:
        """Compare images with their checksums; a damaged file is not read again.

        Raises:
            DataError: one differs.
        """
        for image, number in zip(images, numbers, strict=True):
            if zlib.crc32(image) != self.checksums[number]:
                with suppress(OSError):
                    (self.folder / _INDEX).unlink()
                raise DataError(
                    f"{self.folder / _IMAGES} is damaged, at image {number}.",
                    expected="what was decoded once",
                    hint="type the same command again: the images are decoded anew",
                )


def release(mapping: mmap | None) -> None:
    """Give the pages of a mapped file back; they stay in the system's cache while there is room."""
    if mapping is not None:
        mapping.madvise(MADV_DONTNEED)


def decoded_images(
    root: Path, paths: list[str], image_size: int, digest: Digest, observer: Observer
) -> DecodedImages:
    """Map the decoded images of some files; decode them where that was not done yet.

    Args:
        root: folder that all files lie below.
        paths: of the files.
        image_size: side of the decoded images, in pixels.
        digest: of the source; of no files at all it tells classes and nothing else.
        observer: is told of the work, of the cache, and why there is none.

    Raises:
        DataError: a file cannot be opened, or changes meanwhile.
    """
    files = look_at(root, paths, image_size, digest, observer)
    key = files.key()
    folder = cache_folder("images", key[:32])
    found = _read(folder, key, files)
    if found is not None:
        return found
    if folder.exists():
        observer.warning(f"{folder} is damaged: its images are decoded anew.")
    reason = _keep(folder, key, files)
    found = None if reason else _read(folder, key, files)
    if found is not None:
        observer.note(f"Decoded images: {in_words(files.total)}, kept in {folder}")
        return found
    observer.warning(
        f"Decoded images cannot be kept in {folder.parent}, so they are decoded at every start: "
        f"{reason or 'what was written reads back as something else'}. "
        f"Name another folder: export {VARIABLE}=FOLDER"
    )
    return _hold(files)


def _keep(folder: Path, key: str, files: ImageFiles) -> str | None:
    """Write the cache; return why it cannot be written, if so."""
    try:
        make_room(folder.parent, files.total)
    except InputError as error:
        return error.message + (f" ({error.got})" if error.got else "")
    try:
        with new_folder(folder) as workplace:
            _write(workplace, key, files)
            return _put(workplace, folder, lambda: _read(folder, key, files) is not None)
    except OSError as error:
        return error.strerror or str(error)


def _write(workplace: Path, key: str, files: ImageFiles) -> None:
    size = files.total // len(files.paths)
    checksums: list[int] = []

    with (workplace / _IMAGES).open("w+b") as handle:

        def put(pixels: bytes | bytearray) -> None:
            handle.write(pixels)
            parts = memoryview(pixels)
            checksums.extend(
                zlib.crc32(parts[start : start + size]) for start in range(0, len(parts), size)
            )

        handle.write(_header(files))
        digest, unreadable = files.decode(put)
        handle.flush()
        os.fsync(handle.fileno())
        sample = _sample(handle.fileno())
    np.save(workplace / _CHECKSUMS, np.array(checksums, np.uint32))
    index = {
        "key": key, "digest": digest, "sample": sample, "unreadable": unreadable,
        "checksums": zlib.crc32(np.array(checksums, np.uint32).tobytes()),
    }  # fmt: skip
    (workplace / _INDEX).write_text(json.dumps(index), encoding="utf-8")


def _read(folder: Path, key: str, files: ImageFiles) -> DecodedImages | None:
    """Map a cache into memory; None where it is missing, damaged, or that of something else."""
    header = _header(files)
    try:
        index: dict[str, Any] = json.loads((folder / _INDEX).read_bytes())
        with (folder / _IMAGES).open("rb") as handle:
            fits = (
                index["key"] == key
                and os.fstat(handle.fileno()).st_size == len(header) + files.total
                and handle.read(len(header)) == header
                and index["sample"] == _sample(handle.fileno())
            )
            checksums = np.load(folder / _CHECKSUMS, allow_pickle=False)
            fits = fits and (
                checksums.shape == (len(files.paths),)
                and checksums.dtype == np.uint32
                and index["checksums"] == zlib.crc32(checksums.tobytes())
            )
            unreadable = {int(number): str(why) for number, why in index["unreadable"].items()}
            if not fits:
                return None
            mapping = mmap(
                handle.fileno(), 0, flags=MAP_PRIVATE | _NO_RESERVE, prot=PROT_READ | PROT_WRITE
            )
        images = np.frombuffer(mapping, np.uint8, offset=len(header)).reshape(files.shape)
        kept = Kept(folder, mapping, checksums)
        return DecodedImages(images, str(index["digest"]), unreadable, kept)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _hold(files: ImageFiles) -> DecodedImages:
    """Decode into memory."""
    images = np.empty(files.total, np.uint8)
    done = 0

    def put(pixels: bytes | bytearray) -> None:
        nonlocal done
        images[done : done + len(pixels)] = np.frombuffer(pixels, np.uint8)
        done += len(pixels)

    digest, unreadable = files.decode(put)
    return DecodedImages(images.reshape(files.shape), digest, unreadable)


def _put(workplace: Path, folder: Path, is_whole: Callable[[], bool]) -> str | None:
    """Put what was made in its place, unless another process has put the same there."""
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
    """The first bytes of the file, as `numpy.save` writes them."""
    header = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": files.shape}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def _sample(handle: int) -> int:
    """Checksum of parts of a file, from its beginning to its end."""
    last = max(0, os.fstat(handle).st_size - _SAMPLE)
    checksum = 0
    for part in range(_SAMPLES):
        checksum = zlib.crc32(os.pread(handle, _SAMPLE, last * part // (_SAMPLES - 1)), checksum)
    return checksum
