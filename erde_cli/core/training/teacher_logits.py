"""A teacher's logits for the student's batches: computed each time, or kept from view to view."""

from __future__ import annotations

import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erde_cli.core.data.batches import Batch, Batches
from erde_cli.core.device import Context
from erde_cli.core.errors import ErdeError, InputError
from erde_cli.core.events import Observer
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.folding import folded
from erde_cli.core.storage.cache import make_room
from erde_cli.core.storage.files import write_file
from erde_cli.core.storage.json_files import digest_of, read_json, write_json

Logits = NDArray[np.float16]

_KEY = "key.json"
_LARGEST = float(np.finfo(np.float16).max)
_AT_ONCE = 256  # images; fixed, so that what is stored does not depend on the student's batches


class ComputedLogits:
    """Runs the teacher, in evaluation mode, on every batch."""

    def __init__(self, teacher: EarlyExitNet, context: Context) -> None:
        self._teacher = folded(teacher)
        self._context = context
        context.place(self._teacher)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Logits of every exit, float32 [batch, exits, classes]."""
        with self._context.autocast():
            logits: Tensor = self._teacher(batch.images)
        return logits.float()


@dataclass(frozen=True)
class LogitsCache:
    """Logits on disk, one file a view, float16 [images, exits, classes], mapped into memory.

    A view's file appears whole or not at all, so that a stopped run leaves only whole views; its
    name holds its checksum. The folder's name is the digest of `key`, all that the logits depend
    on: other images, another teacher or another augmentation have another folder.
    """

    folder: Path
    key: dict[str, Any]
    shape: tuple[int, int, int]

    @classmethod
    def at(cls, root: Path, key: dict[str, Any], shape: tuple[int, int, int]) -> LogitsCache:
        """The cache for a key, in a folder of its own below `root`."""
        document = {"format": 1, "shape": list(shape), **key}
        return cls(root / digest_of(document)[:32], document, shape)

    @property
    def bytes_per_view(self) -> int:
        """Size of one view, in bytes."""
        return 2 * int(np.prod(self.shape))

    def missing(self, views: int) -> int:
        """How many of the first `views` views are not there."""
        return sum(not self.files(view) for view in range(views))

    def open(self, bytes_to_come: int) -> None:
        """Make the folder, and see that it is this key's and that the disk has room.

        Raises:
            InputError: the disk is full, or the folder belongs to something else.
        """
        make_room(self.folder, bytes_to_come)
        path = self.folder / _KEY
        if not path.is_file():
            write_json(path, self.key)
        elif read_json(path) != self.key:
            raise InputError(
                f"{self.folder} is no cache of this teacher on these images.",
                got=f"another {_KEY}",
                hint="remove the folder; it is made again",
                expected="what erde wrote there",
            )

    def read(self, view: int) -> Logits | None:
        """Map a view into memory; None where it is missing or damaged."""
        for path in self.files(view):
            logits = self._mapped(path)
            if logits is not None and path == self._path(view, logits):
                return logits
        return None

    def _mapped(self, path: Path) -> Logits | None:
        """A file of exactly these many numbers; its header is compared, and never interpreted."""
        header = io.BytesIO()
        described = {"descr": "<f2", "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(header, described)
        start = header.getvalue()
        try:
            with path.open("rb") as handle:
                size = os.fstat(handle.fileno()).st_size
                if size != len(start) + self.bytes_per_view or handle.read(len(start)) != start:
                    return None
            return np.memmap(path, np.dtype("<f2"), "r", len(start), self.shape)
        except (OSError, ValueError):
            return None

    def write(self, view: int, logits: Logits) -> None:
        """Store a view, whole or not at all, in the place of damaged ones."""
        damaged = self.files(view)
        path = self._path(view, logits)
        write_file(path, lambda temporary: _save(temporary, logits))
        for other in damaged:
            if other != path:
                other.unlink(missing_ok=True)

    def _path(self, view: int, logits: Logits) -> Path:
        return self.folder / f"view-{view:05}-{zlib.crc32(logits.data):08x}.npy"

    def files(self, view: int) -> list[Path]:
        """What is there of a view; read, it may turn out to be damaged."""
        return sorted(self.folder.glob(f"view-{view:05}-*.npy"))


class CachedLogits:
    """Reads the teacher's logits; a view that is missing is computed once, for all images.

    The student sees the stored values, float16, also in the epoch that fills a view: a run is the
    same whether it fills or reads. A view is computed in the order of the store, in batches of
    fixed size, so it does not depend on who fills it.
    """

    def __init__(
        self, teacher: EarlyExitNet, batches: Batches, cache: LogitsCache, context: Context,
        observer: Observer,
    ) -> None:  # fmt: skip
        self._compute = ComputedLogits(teacher, context)
        self._batches = batches
        self._cache = cache
        self._context = context
        self._observer = observer
        self._view = -1
        self._logits: Logits = np.empty(0, np.float16)

    def __call__(self, batch: Batch) -> Tensor:
        """Logits of every exit, float32 [batch, exits, classes]."""
        if batch.view != self._view:
            self._logits, self._view = self._get(batch.view), batch.view
        stored = torch.from_numpy(self._logits[batch.rows])
        return self._context.to_device(stored).float()

    def _get(self, view: int) -> Logits:
        stored = self._cache.read(view)
        if stored is None:
            for damaged in self._cache.files(view):
                self._observer.warning(f"{damaged} is damaged: it is made again.")
            self._cache.write(view, self._fill(view))
            stored = self._cache.read(view)
        if stored is None:
            raise ErdeError(
                f"What was written to {self._cache.folder} reads back as something else."
            )
        return stored

    def _fill(self, view: int) -> Logits:
        logits = np.empty(self._cache.shape, np.float16)
        done = 0
        for batch in self._batches.in_order(view, _AT_ONCE):
            found = self._compute(batch).clamp(-_LARGEST, _LARGEST).half().cpu().numpy()
            logits[done : done + len(found)] = found
            done += len(found)
            self._observer.progress(f"Teacher's logits, view {view + 1}", done, len(logits))
        return logits


def _save(path: Path, logits: Logits) -> None:
    with path.open("wb") as handle:
        np.save(handle, logits)
