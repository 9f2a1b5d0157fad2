"""Image files as the file system tells of them, before any is read, and how all are decoded."""

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

from erde_cli.core.errors import DataError
from erde_cli.core.events import Observer
from erde_cli.core.images.decoders import Wanted, decode_in_order
from erde_cli.core.images.decoding import VERSION, Decoded, pillow_settings, stamp
from erde_cli.core.images.pixels import PixelRules, Traits
from erde_cli.core.storage.json_files import digest_of
from erde_cli.core.storage.short_digests import ShortDigests, short_digests

_FORMAT = 3  # of the cache

Digest = Callable[[list[str]], str]  # of a whole source, from the SHA-256 of every file


class Found(NamedTuple):
    """What is known of image files once all have been read.

    digest: of the source. files: short digests of the files, uint64 [files]. unreadable: number and
    reason of those that are no image. traits: of all of them together.
    """

    digest: str
    files: ShortDigests
    unreadable: dict[int, str]
    traits: Traits


@dataclass(frozen=True)
class ImageFiles:
    """Image files, at which size they are wanted, and by which rules.

    stamps: of every file. links: stamps of those that are links themselves. content: bytes of all.
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
        """Of the decoded images."""
        return (len(self.paths), self.image_size, self.image_size, 3)

    @property
    def total(self) -> int:
        """Size of the decoded images, in bytes."""
        return int(np.prod(self.shape))

    def decode(self, put: Callable[[bytes | bytearray], object]) -> Found:
        """Hand the pixels on in order; return what else there is to know.

        Raises:
            DataError: a file cannot be opened, or has changed since the key was made of it.
        """
        digests: list[str] = []
        unreadable: dict[int, str] = {}
        traits = Traits()
        wanted = (self.image_size, self.rules)
        with closing(decode_in_order(self.paths, wanted, self.content)) as chunks:
            for start, found in chunks:
                self._refuse(start, found)
                put(found.pixels)
                digests += found.digests
                unreadable |= {start + place: reason for place, reason in found.unreadable.items()}
                traits = traits.and_(found.traits)
                self.observer.progress("Decoding images", len(digests), len(self.paths))
        return Found(self.digest(digests), short_digests(digests), unreadable, traits)

    def key(self) -> str:
        """Changes with the files and with what decodes them; nothing is read for it."""
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

    def _refuse(self, start: int, found: Decoded) -> None:
        for place, reason in found.unopened.items():
            raise cannot_open(self.paths[start + place], reason)
        if found.stamps != self.stamps[start : start + len(found.stamps)]:
            raise DataError(
                f"The images in {self.root} changed while they were read.",
                hint="type the same command again when nothing writes into that folder",
                expected="images that stay as they are",
            )


def stat_files(
    root: Path,
    paths: list[str],
    wanted: Wanted,
    digest: Digest,
    observer: Observer,
) -> ImageFiles:
    """Ask the file system about every file; of a link, about itself and what it leads to."""
    content = 0
    stamps: list[str] = []
    links: list[str] = []
    for path in paths:
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                links.append(stamp(status))
                status = os.stat(path)  # noqa: PTH116 (as fast as can be)
        except OSError as error:
            raise cannot_open(path, error.strerror or str(error)) from error
        content += status.st_size
        stamps.append(stamp(status))
    return ImageFiles(root, paths, *wanted, digest, observer, stamps, links, content)


def start_below(root: Path) -> int:
    """Where in the text of a path the part below a root starts."""
    return 0 if root == Path() else len(str(root / "_")) - 1


def cannot_open(path: str | Path, reason: str) -> DataError:
    """A file gives not even bytes."""
    return DataError(
        f"Cannot open {path}: {reason}.",
        expected="a file that may be opened",
        hint="let yourself read it, such as by chmod u+r, or remove it",
    )
