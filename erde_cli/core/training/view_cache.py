"""Values of a network for every view of every image, computed once and kept on disk."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erde_cli.core.arrays import IntArray
from erde_cli.core.data.batches import Batch, Batches
from erde_cli.core.device import images_at_once
from erde_cli.core.errors import ErdeError, InputError
from erde_cli.core.events import Observer
from erde_cli.core.storage.cache import make_room
from erde_cli.core.storage.files import put_in_place, reporting_write_errors
from erde_cli.core.storage.json_files import digest_of, read_json, write_json
from erde_cli.core.storage.temporary import new_file

HalfArray = NDArray[np.float16]

_KEY = "key.json"
SMALL, _SMALL_AT_ONCE = 64, 256  # images of up to 64 pixels
_BYTES_AT_ONCE = 1_000_000
_LARGEST = float(np.finfo(np.float16).max)


def half(values: Tensor) -> HalfArray:
    """Values as they are kept: float16, clamped to its range."""
    array: HalfArray = values.clamp(-_LARGEST, _LARGEST).half().cpu().numpy()
    return array


@dataclass(frozen=True)
class ViewCache:
    """Values on disk, one memory-mapped file per view, float16 [images, ...].

    A file is written part by part, so that no view is held in memory. It appears whole or not at
    all, so that an interrupted run leaves only complete views. Its name contains its checksum. The
    folder's name is the digest of `key`, which contains everything that the values depend on, such
    as images, network and augmentation.
    """

    folder: Path
    key: dict[str, Any]
    shape: tuple[int, ...]

    @classmethod
    def at(cls, root: Path, key: dict[str, Any], shape: tuple[int, ...]) -> ViewCache:
        """The cache for a key, in its folder below `root`."""
        document = {"format": 1, "shape": list(shape), **key}
        return cls(root / digest_of(document)[:32], document, shape)

    @property
    def bytes_per_view(self) -> int:
        """Size of one view, in bytes."""
        return 2 * int(np.prod(self.shape))

    def missing(self, views: int) -> int:
        """Number of the first `views` views that have no file."""
        return sum(not self.files(view) for view in range(views))

    def open(self, bytes_to_come: int) -> None:
        """Make the folder, and check that it belongs to this key and that the disk has room.

        Raises:
            InputError: the disk is full, or the folder belongs to another key.
        """
        make_room(self.folder, bytes_to_come)
        path = self.folder / _KEY
        if not path.is_file():
            write_json(path, self.key)
        elif read_json(path) != self.key:
            raise InputError(
                f"{self.folder} is not a cache of this network on these images.",
                got=f"a different {_KEY}",
                hint="remove the folder; erde makes it again",
                expected="an unchanged folder",
            )

    def read(self, view: int) -> HalfArray | None:
        """Map a view into memory; None if it is missing or damaged."""
        for path in self.files(view):
            checksum = self._checksum(path)
            if checksum is not None and path == self._path(view, checksum):
                return np.memmap(path, np.dtype("<f2"), "r", len(self._header()), self.shape)
        return None

    def _checksum(self, path: Path) -> int | None:
        """CRC-32 of the values in a file, read in parts; None if they have another shape.

        The file's header is only compared with the expected one.
        """
        start, checksum = self._header(), 0
        try:
            with path.open("rb") as handle:
                size = os.fstat(handle.fileno()).st_size
                if size != len(start) + self.bytes_per_view or handle.read(len(start)) != start:
                    return None
                while part := handle.read(_BYTES_AT_ONCE):
                    checksum = zlib.crc32(part, checksum)
        except OSError:
            return None
        return checksum

    def write(self, view: int, parts: Iterable[HalfArray]) -> None:
        """Store a view, whole or not at all, and remove damaged files of it.

        Args:
            view: its number.
            parts: its values in order, float16 [images of the part, ...].

        Raises:
            ErdeError: the file cannot be written.
        """
        damaged = self.files(view)
        any_name = self._path(view, 0)  # the checksum is known at the end
        with ExitStack() as stack:
            with reporting_write_errors(any_name):
                temporary = stack.enter_context(new_file(any_name))
                temporary.write_bytes(self._header())
            path = self._path(view, append_parts(temporary, parts))
            put_in_place(temporary, path)
        for other in damaged:
            if other != path:
                other.unlink(missing_ok=True)

    def _header(self) -> bytes:
        """Header of a file, in the format of `numpy.save`."""
        header = io.BytesIO()
        described = {"descr": "<f2", "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(header, described)
        return header.getvalue()

    def _path(self, view: int, checksum: int) -> Path:
        return self.folder / f"view-{view:05}-{checksum:08x}.npy"

    def files(self, view: int) -> list[Path]:
        """Files of a view, which can be damaged."""
        return sorted(self.folder.glob(f"view-{view:05}-*.npy"))


class KeptViews:
    """Reads views from a cache; a missing one is computed once, for all images.

    Readers get the stored float16 values even in the epoch that fills a view, so that a run does
    not depend on the cache. A view is computed in the order of the store, in batches of fixed size,
    so that it does not depend on the run that fills it.
    """

    def __init__(
        self, compute: Callable[[Batch], Tensor], batches: Batches, cache: ViewCache, title: str,
        observer: Observer,
    ) -> None:  # fmt: skip
        """Compute with `compute` on images of `batches`; `title` names the values in progress."""
        self._compute = compute
        self._batches = batches
        self._cache = cache
        self._title = title
        self._observer = observer
        self._at_once = images_per_part(batches)
        self._checked: dict[int, HalfArray] = {}  # mapped, not in memory

    def rows(self, positions: IntArray, view: int) -> Tensor:
        """Values of one view of the images at `positions`, float16 [batch, ...], on the CPU."""
        if view not in self._checked:
            self._checked[view] = self._get(view)
        return torch.from_numpy(self._checked[view][positions])

    def fill(self, views: int) -> None:
        """Compute those of the first `views` views that are missing or damaged.

        Of several processes, each computes its share of the views, and all read them.
        """
        engine = self._batches.engine
        for view in range(engine.rank, views, engine.world_size):
            self._checked[view] = self._get(view)
        engine.meet()
        for view in range(views):
            if view not in self._checked:
                self._checked[view] = self._get(view)

    def _get(self, view: int) -> HalfArray:
        stored = self._cache.read(view)
        if stored is None:
            for damaged in self._cache.files(view):
                self._observer.warning(f"{damaged} is damaged. It is computed again.")
            self._cache.write(view, self._computed(view))
            stored = self._cache.read(view)
        if stored is None:
            raise ErdeError(f"A file in {self._cache.folder} differs from what was written to it.")
        return stored

    @torch.no_grad()
    def _computed(self, view: int) -> Iterator[HalfArray]:
        """Values of a view, batch by batch."""
        images, done = self._cache.shape[0], 0
        for batch in self._batches.in_order(view, self._at_once):
            part = half(self._compute(batch))
            done += len(part)
            yield part
            self._observer.progress(f"{self._title}, view {view + 1}", done, images)


def append_parts(path: Path, parts: Iterable[HalfArray]) -> int:
    """Append values to a file, part by part, and return their CRC-32.

    Raises:
        ErdeError: the file cannot be written. Errors of `parts` pass through.
    """
    checksum = 0
    for part in parts:
        values = np.ascontiguousarray(part)
        with reporting_write_errors(path), path.open("ab") as handle:
            handle.write(values.data)
        checksum = zlib.crc32(values.data, checksum)
    return checksum


def images_per_part(batches: Batches) -> int:
    """Batch size in which a view is computed: fixed, so that its values depend on no recipe."""
    if batches.view_side <= SMALL:
        return _SMALL_AT_ONCE
    return images_at_once(batches.view_side, batches.device)
