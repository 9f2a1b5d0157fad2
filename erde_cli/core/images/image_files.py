"""Image files with their sizes and times, and how they are decoded."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from erde_cli.core.arrays import Float32Array
from erde_cli.core.errors import DataError
from erde_cli.core.events import Observer
from erde_cli.core.images.decoders import PixelFormat, decode_in_order
from erde_cli.core.images.decoding import VERSION, Decoded, pillow_settings, stamp
from erde_cli.core.images.listing import cannot_open
from erde_cli.core.images.pixels import PixelRules, Traits
from erde_cli.core.storage.json_files import digest_of
from erde_cli.core.storage.short_digests import ShortDigests, short_digests

_FORMAT = 4  # of the cache

Digest = Callable[[list[str]], str]  # SHA-256 of every file → digest of the source


class SourceSummary(NamedTuple):
    """Results of reading all files of a source.

    digest: of the source. files: short digests of the files, uint64 [files]. unreadable: number and
    reason of unreadable files. traits: of all files together. ratios: width / height of each
    image before it was resized, float32 [files].
    """

    digest: str
    files: ShortDigests
    unreadable: dict[int, str]
    traits: Traits
    ratios: Float32Array


@dataclass(frozen=True)
class ImageFiles:
    """Image files, and the size and rules of their decoded images.

    stamps: of every file, links resolved. links: stamps of symbolic links. content: bytes of all.
    """

    root: Path
    paths: list[str]
    image_size: int
    rules: PixelRules
    digest: Digest
    observer: Observer
    stamps: list[str]
    links: list[str]
    content: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the decoded images: files, height, width, 3."""
        return (len(self.paths), self.image_size, self.image_size, 3)

    @property
    def total(self) -> int:
        """Size of the decoded images, in bytes."""
        return int(np.prod(self.shape))

    def decode(self, put: Callable[[bytes | bytearray], object]) -> SourceSummary:
        """Decode all files in order, and pass their pixels to `put`.

        Raises:
            DataError: a file cannot be opened, or has changed since `stat_files`.
            ErdeError: a worker process has died.
        """
        digests: list[str] = []
        unreadable: dict[int, str] = {}
        ratios: list[float] = []
        traits = Traits()
        pixel_format = (self.image_size, self.rules)
        with closing(decode_in_order(self.paths, pixel_format, self.content)) as chunks:
            for start, decoded in chunks:
                self._check(start, decoded)
                put(decoded.pixels)
                digests += decoded.digests
                unreadable |= {start + at: reason for at, reason in decoded.unreadable.items()}
                traits = traits.merged(decoded.traits)
                ratios += decoded.ratios
                self.observer.progress("Decoding images", len(digests), len(self.paths))
        files, shapes = short_digests(digests), np.array(ratios, np.float32)
        return SourceSummary(self.digest(digests), files, unreadable, traits, shapes)

    def key(self) -> str:
        """Key of the cache: a digest of paths, stamps, size, rules and decoder versions."""
        start = start_below(self.root)
        names = "\0".join(path[start:] for path in self.paths)
        described = {
            "format": [_FORMAT, VERSION],
            "pillow": pillow_settings(),
            "rules": self.rules.decisive(),
            "shape": list(self.shape),
            "classes": self.digest([]),
            "names": hashlib.sha256(os.fsencode(names)).hexdigest(),
            "stamps": hashlib.sha256("\n".join(self.stamps).encode()).hexdigest(),
            "links": self.links,
        }
        return digest_of(described)

    def _check(self, start: int, decoded: Decoded) -> None:
        for position, reason in decoded.unopened.items():
            raise cannot_open(self.paths[start + position], reason)
        if decoded.stamps != self.stamps[start : start + len(decoded.stamps)]:
            raise changed_meanwhile(self.root)


def stat_files(
    root: Path,
    paths: list[str],
    pixel_format: PixelFormat,
    digest: Digest,
    observer: Observer,
) -> ImageFiles:
    """Stat every file, and both a symbolic link and its target.

    Raises:
        DataError: a file cannot be accessed.
    """
    content = 0
    stamps: list[str] = []
    links: list[str] = []
    for path in paths:
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                links.append(stamp(status))
                status = os.stat(path)  # noqa: PTH116 (faster than Path)
        except OSError as error:
            raise cannot_open(path, error) from error
        content += status.st_size
        stamps.append(stamp(status))
    return ImageFiles(root, paths, *pixel_format, digest, observer, stamps, links, content)


def changed_meanwhile(root: Path) -> DataError:
    """Error for images that changed between two readings."""
    return DataError(
        f"The images in {root} changed while they were read.",
        expected="images that do not change",
        hint="run the same command again when no other program writes to that folder",
    )


def start_below(root: Path) -> int:
    """Index in the text of a path at which the part below `root` starts."""
    return 0 if root == Path() else len(str(root / "_")) - 1
