"""Images in folders, one subfolder per class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.arrays import ImageArray, IntArray
from erde_cli.core.data.sources import Progress
from erde_cli.core.errors import DataError
from erde_cli.core.events import Observer
from erde_cli.core.images.decoded import DecodedImages
from erde_cli.core.images.decoders import decode_in_order
from erde_cli.core.images.image_cache import decoded_images
from erde_cli.core.images.image_files import cannot_open, start_below
from erde_cli.core.images.passed_over import PassedOver
from erde_cli.core.images.pixels import DEFAULT_RULES, PixelRules
from erde_cli.core.storage.files import digest_of_file
from erde_cli.core.storage.short_digests import ShortDigests, first_of_each, short_digests

_LISTED = 10  # unreadable files named in a message
_MEGABYTE = 1_000_000


class UnreadableError(DataError):
    """Files that are no readable image; `problems` holds each with its reason."""

    def __init__(self, root: Path, problems: list[tuple[Path, str]]) -> None:
        several = len(problems) > 1
        super().__init__(
            f"{len(problems)} file{'s' * several} under {root} cannot be read as "
            f"{'images' if several else 'an image'}:\n"
            + _listing([f"{path}: {reason}" for path, reason in problems]),
            expected="whole image files of a format that Pillow reads",
            hint="mend or remove them, or put unreadable: skip into the recipe's data section",
        )
        self.root = root
        self.problems = problems


class GivenSplit(NamedTuple):
    """A split that has a folder of its own, such as valid/: its name, and which files lie there."""

    folder: str
    files: NDArray[np.bool_]


@dataclass
class FolderSource:
    """Files in folders, one folder a class.

    is_test, calibration: what lies in folders of its own. rules: how files become pixels.
    passed_over: what was left out when they were listed.
    """

    root: Path
    class_names: tuple[str, ...]
    paths: list[str]
    labels: IntArray
    is_test: NDArray[np.bool_] | None
    skip_unreadable: bool = False
    rules: PixelRules = DEFAULT_RULES
    calibration: GivenSplit | None = None
    passed_over: PassedOver = field(default_factory=PassedOver)
    skipped: list[Path] = field(default_factory=list)
    decoded: DecodedImages | None = None

    @cached_property
    def files(self) -> list[Path]:
        """Every file; made of `paths` when it is wanted, which takes longer than to list them."""
        return [Path(path) for path in self.paths]

    @property
    def is_calibration(self) -> NDArray[np.bool_] | None:
        """Which files are the calibration split's, bool [files]; None: it is carved from train."""
        return None if self.calibration is None else self.calibration.files

    @cached_property
    def short_digests(self) -> ShortDigests:
        """Of the content of every file, uint64 [files]."""
        if self.decoded is not None:
            return self.decoded.files
        return short_digests([_digest(path) for path in self.files])

    @cached_property
    def first_same(self) -> IntArray:
        """Number of the first file with the same content, int64 [files]; of images alone."""
        first = first_of_each(self.short_digests)
        bad = np.array([*self.decoded.unreadable] if self.decoded else [], dtype=np.int64)
        first[bad] = bad
        return first

    def decode(self, size: int, observer: Observer) -> None:
        """Have all images at hand at one size, from the cache if they are there.

        Raises:
            DataError: a file cannot be opened, or changes meanwhile.
        """
        self.decoded = decoded_images(
            self.root, self.paths, (size, self.rules), self._total, observer
        )

    def shared(self, limit: int) -> DecodedImages | None:
        """All images, where they are to stay where they are: those of a split are no copies.

        Args:
            limit: of what is copied from the cache into memory, in MB.
        """
        if self.decoded is None or (
            self.decoded.mapping is not None and self.decoded.images.nbytes <= limit * _MEGABYTE
        ):
            return None
        return self.decoded

    def digest(self) -> str:
        """SHA-256 of the path (below the root), label and bytes of every file."""
        if self.decoded is not None:
            return self.decoded.digest
        return self._total([_digest(path) for path in self.files])

    def _total(self, digests: Sequence[str]) -> str:
        """Digest of the source, from the SHA-256 of each file; without any, of the classes."""
        total = hashlib.sha256("\0".join(self.class_names).encode())
        start = start_below(self.root)
        for path, digest in zip(self.paths, digests, strict=False):
            total.update(os.fsencode(path[start:]) + b"\0" + bytes.fromhex(digest))
        return total.hexdigest()

    def read(
        self, numbers: IntArray, size: int, progress: Progress | None = None
    ) -> tuple[ImageArray, IntArray]:
        """Decode images: uint8 [n, size, size, 3], and the numbers that could be read [n].

        Raises:
            DataError: files cannot be read, and they are not to be skipped.
        """
        if self.decoded is not None and self.decoded.images.shape[1] == size:
            numbers = self.readable(numbers)
            return self.decoded.take(numbers), numbers
        images = np.empty((len(numbers), size, size, 3), dtype=np.uint8)
        readable = np.ones(len(numbers), dtype=bool)
        problems: list[tuple[Path, str]] = []
        files = [self.files[number] for number in numbers]
        content = sum(path.stat().st_size for path in files if path.exists())
        with closing(
            decode_in_order([str(path) for path in files], (size, self.rules), content)
        ) as chunks:
            for start, found in chunks:
                done = start + len(found.digests)
                pixels = np.frombuffer(found.pixels, np.uint8)
                images[start:done] = pixels.reshape(-1, size, size, 3)
                for place, reason in {**found.unreadable, **found.unopened}.items():
                    readable[start + place] = False
                    problems.append((files[start + place], reason))
                if progress is not None:
                    progress(done, len(numbers))
        self._tell(problems)
        return (images if readable.all() else images[readable]), numbers[readable]

    def readable(self, numbers: IntArray) -> IntArray:
        """Those of some images that could be decoded, where all have been.

        Raises:
            DataError: some could not, and they are not to be skipped.
        """
        lost = self.decoded.unreadable if self.decoded is not None else {}
        bad = [int(number) for number in numbers if int(number) in lost] if lost else []
        self._tell([(self.files[number], lost[number]) for number in bad])
        return numbers[~np.isin(numbers, bad)] if bad else numbers

    def _tell(self, problems: list[tuple[Path, str]]) -> None:
        if problems and not self.skip_unreadable:
            raise UnreadableError(self.root, problems)
        known = set(self.skipped)
        self.skipped += [path for path, _ in problems if path not in known]


def _digest(path: Path) -> str:
    try:
        return digest_of_file(path)
    except OSError as error:
        raise cannot_open(path, error.strerror or str(error)) from error


def _listing(lines: list[str]) -> str:
    more = [f"... and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n".join(f"  {line}" for line in lines[:_LISTED] + more)
