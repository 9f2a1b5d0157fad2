"""Images in folders, one subfolder per class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from erde_cli.core.arrays import BoolArray, ImageArray, IntArray
from erde_cli.core.data.sources import Progress
from erde_cli.core.errors import DataError
from erde_cli.core.events import Observer
from erde_cli.core.images.decoded import DecodedImages
from erde_cli.core.images.decoders import PixelFormat
from erde_cli.core.images.image_cache import decoded_images
from erde_cli.core.images.image_files import changed_meanwhile, start_below
from erde_cli.core.images.passed_over import PassedOver
from erde_cli.core.images.pixels import DEFAULT_RULES, PixelRules
from erde_cli.core.storage.json_files import digest_of
from erde_cli.core.storage.short_digests import ShortDigests, first_of_each

_LISTED = 10  # unreadable files named in a message
_MEGABYTE = 1_000_000


class UnreadableError(DataError):
    """Files that cannot be read as images; `problems` holds each with its reason."""

    def __init__(self, root: Path, problems: list[tuple[Path, str]]) -> None:
        several = len(problems) > 1
        super().__init__(
            f"{len(problems)} file{'s' * several} under {root} cannot be read as "
            f"{'images' if several else 'an image'}:\n"
            + _listing([f"{path}: {reason}" for path, reason in problems]),
            expected="complete image files in a format that Pillow reads",
            hint="repair or remove them, or put unreadable: skip into the recipe's data section",
        )
        self.root = root
        self.problems = problems


class GivenSplit(NamedTuple):
    """A split with its own folder, such as valid/: the folder's name, and a mask of its files.

    files: bool [files of the source].
    """

    folder: str
    files: BoolArray


@dataclass
class FolderSource:
    """Files in folders, one folder per class. They are listed first, and read by `decode`.

    paths: of every file. labels: int64 [files]. is_test: bool [files]; None without a test folder.
    skip_unreadable: leave out files that are not readable images instead of raising an error.
    rules: how files become pixels. calibration: the calibration folder, if there is one.
    passed_over: files that the listing left out. skipped: unreadable files met so far.
    decoded: all images; observer: of their decoding; both set by `decode`.
    """

    root: Path
    class_names: tuple[str, ...]
    paths: list[str]
    labels: IntArray
    is_test: BoolArray | None
    skip_unreadable: bool = False
    rules: PixelRules = DEFAULT_RULES
    calibration: GivenSplit | None = None
    passed_over: PassedOver = field(default_factory=PassedOver)
    skipped: list[Path] = field(default_factory=list)
    decoded: DecodedImages = field(init=False, repr=False)
    observer: Observer = field(init=False, repr=False)

    @cached_property
    def files(self) -> list[Path]:
        """Path of every file. Making them from `paths` takes longer than listing the folder."""
        return [Path(path) for path in self.paths]

    @property
    def is_calibration(self) -> BoolArray | None:
        """Mask of the calibration files, bool [files]; None: they are drawn from train."""
        return None if self.calibration is None else self.calibration.files

    @property
    def size(self) -> int:
        """Side of the images that `decode` has read, in pixels."""
        return int(self.decoded.images.shape[1])

    @property
    def short_digests(self) -> ShortDigests:
        """Digest of the content of every file, uint64 [files]."""
        return self.decoded.files

    @cached_property
    def first_same(self) -> IntArray:
        """Number of the first file with the same content, int64 [files].

        An unreadable file counts as its own first.
        """
        first = first_of_each(self.short_digests)
        unreadable = np.array([*self.decoded.unreadable], dtype=np.int64)
        first[unreadable] = unreadable
        return first

    def decode(self, size: int, observer: Observer) -> None:
        """Decode all images at size x size pixels, or take them from the cache.

        Raises:
            DataError: a file cannot be opened, or changes meanwhile.
        """
        self.observer = observer
        self.decoded = decoded_images(
            self.root, self.paths, (size, self.rules), self._digest_of, observer
        )

    def decode_part(
        self,
        numbers: IntArray,
        pixel_format: PixelFormat,
        observer: Observer,
        *,
        skip_unreadable: bool = False,
    ) -> DecodedImages:
        """Decode some readable files once more, at another size or by other rules.

        Args:
            numbers: of the files.
            pixel_format: side in pixels, and the rules.
            observer: receives the progress.
            skip_unreadable: from now on, `readable` leaves out those that cannot be read.

        Returns:
            The images in the order of `numbers`, verified, from the cache if they are there.

        Raises:
            DataError: a file cannot be read, or has changed since `decode`.
        """
        paths = [self.paths[number] for number in numbers]
        part = decoded_images(self.root, paths, pixel_format, digest_of, observer)
        if not np.array_equal(part.files, self.short_digests[numbers]):
            raise changed_meanwhile(self.root)
        if part.unreadable:
            if not skip_unreadable:
                problems = [(Path(paths[at]), why) for at, why in part.unreadable.items()]
                raise UnreadableError(self.root, problems)
            for at, why in part.unreadable.items():
                self.decoded.unreadable[int(numbers[at])] = why
        part.check(np.arange(len(paths)))
        return part

    def is_shared(self, limit: int) -> bool:
        """Whether all splits use the decoded images in place, without copies.

        Args:
            limit: largest size in MB that is copied from the cache's file into memory.
        """
        in_memory = self.decoded.mapping is None
        return in_memory or self.decoded.images.nbytes > limit * _MEGABYTE

    def digest(self) -> str:
        """SHA-256 of the path (below the root), label and bytes of every file."""
        return self.decoded.digest

    def _digest_of(self, digests: Sequence[str]) -> str:
        """Digest of the source from the SHA-256 of each file; of the classes alone without any."""
        total = hashlib.sha256("\0".join(self.class_names).encode())
        start = start_below(self.root)
        for path, digest in zip(self.paths, digests, strict=False):
            total.update(os.fsencode(path[start:]) + b"\0" + bytes.fromhex(digest))
        return total.hexdigest()

    def read(
        self, numbers: IntArray, size: int, progress: Progress | None = None
    ) -> tuple[ImageArray, IntArray]:
        """Copy decoded images, uint8 [n, size, size, 3], and the numbers of those readable [n].

        Raises:
            DataError: files cannot be read, and are not to be skipped.
        """
        del size, progress  # `decode` has read them all at one size
        numbers = self.readable(numbers)
        return self.decoded.take(numbers), numbers

    def readable(self, numbers: IntArray) -> IntArray:
        """Numbers of those images that could be decoded, in the same order.

        Raises:
            DataError: some could not, and are not to be skipped.
        """
        reasons = self.decoded.unreadable
        bad = [int(number) for number in numbers if int(number) in reasons] if reasons else []
        if bad and not self.skip_unreadable:
            raise UnreadableError(self.root, [(self.files[n], reasons[n]) for n in bad])
        known = set(self.skipped)
        self.skipped += [self.files[n] for n in bad if self.files[n] not in known]
        return numbers[~np.isin(numbers, bad)] if bad else numbers


def _listing(lines: list[str]) -> str:
    more = [f"... and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n".join(f"  {line}" for line in lines[:_LISTED] + more)
