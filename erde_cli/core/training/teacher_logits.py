"""The teacher's logits for the student's batches: computed each time, or cached by view."""

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

HalfArray = NDArray[np.float16]

_KEY = "key.json"
_LARGEST = float(np.finfo(np.float16).max)
_AT_ONCE = 256  # images; fixed, so that stored logits do not depend on the student's batch size


class ComputedLogits:
    """Runs the teacher, in evaluation mode, on the whole views of every batch.

    rescale: scale and shift of each channel, float32 [3] each, from the student's normalisation to
    the teacher's; None if they are the same.
    """

    def __init__(
        self,
        teacher: EarlyExitNet,
        context: Context,
        rescale: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self._teacher = folded(teacher)
        self._context = context
        self._rescale = rescale and tuple(
            context.to_device(one[:, None, None].to(context.dtype)) for one in rescale
        )
        context.place(self._teacher)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Logits of every teacher exit, float32 [batch, teacher exits, classes]."""
        images = batch.images if batch.whole is None else batch.whole()
        if self._rescale:
            scale, shift = self._rescale
            images = torch.addcmul(shift, images, scale)
        with self._context.autocast():
            logits: Tensor = self._teacher(images)
        return logits.float()


@dataclass(frozen=True)
class LogitsCache:
    """Logits on disk, one memory-mapped file per view, float16 [images, teacher exits, classes].

    A file appears whole or not at all, so that an interrupted run leaves only complete views. Its
    name contains its checksum. The folder's name is the digest of `key`, which contains everything
    that the logits depend on, such as images, teacher and augmentation.
    """

    folder: Path
    key: dict[str, Any]
    shape: tuple[int, int, int]

    @classmethod
    def at(cls, root: Path, key: dict[str, Any], shape: tuple[int, int, int]) -> LogitsCache:
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
                f"{self.folder} is not a cache of this teacher on these images.",
                got=f"a different {_KEY}",
                hint="remove the folder; erde makes it again",
                expected="an unchanged folder",
            )

    def read(self, view: int) -> HalfArray | None:
        """Map a view into memory; None if it is missing or damaged."""
        for path in self.files(view):
            logits = self._mapped(path)
            if logits is not None and path == self._path(view, logits):
                return logits
        return None

    def _mapped(self, path: Path) -> HalfArray | None:
        """Map a file of the right size. Its header is only compared with the expected one."""
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

    def write(self, view: int, logits: HalfArray) -> None:
        """Store a view, whole or not at all, and remove damaged files of it."""
        damaged = self.files(view)
        path = self._path(view, logits)
        write_file(path, lambda temporary: _save(temporary, logits))
        for other in damaged:
            if other != path:
                other.unlink(missing_ok=True)

    def _path(self, view: int, logits: HalfArray) -> Path:
        return self.folder / f"view-{view:05}-{zlib.crc32(logits.data):08x}.npy"

    def files(self, view: int) -> list[Path]:
        """Files of a view, which can be damaged."""
        return sorted(self.folder.glob(f"view-{view:05}-*.npy"))


class CachedLogits:
    """Reads the teacher's logits from a cache; a missing view is computed once, for all images.

    The student gets the stored float16 values even in the epoch that fills a view, so that a run
    does not depend on the cache. A view is computed in the order of the store, in batches of fixed
    size, so that it does not depend on the run that fills it.
    """

    def __init__(
        self, compute: ComputedLogits, batches: Batches, cache: LogitsCache, context: Context,
        observer: Observer,
    ) -> None:  # fmt: skip
        self._compute = compute
        self._batches = batches
        self._cache = cache
        self._context = context
        self._observer = observer
        self._view = -1
        self._logits: HalfArray = np.empty(0, np.float16)

    def __call__(self, batch: Batch) -> Tensor:
        """Logits of every teacher exit, float32 [batch, teacher exits, classes]."""
        if batch.view != self._view:
            self._logits, self._view = self._get(batch.view), batch.view
        stored = torch.from_numpy(self._logits[batch.rows])
        return self._context.to_device(stored).float()

    def _get(self, view: int) -> HalfArray:
        stored = self._cache.read(view)
        if stored is None:
            for damaged in self._cache.files(view):
                self._observer.warning(f"{damaged} is damaged. It is computed again.")
            self._cache.write(view, self._fill(view))
            stored = self._cache.read(view)
        if stored is None:
            raise ErdeError(f"A file in {self._cache.folder} differs from what was written to it.")
        return stored

    def _fill(self, view: int) -> HalfArray:
        logits = np.empty(self._cache.shape, np.float16)
        done = 0
        for batch in self._batches.in_order(view, _AT_ONCE):
            part = self._compute(batch).clamp(-_LARGEST, _LARGEST).half().cpu().numpy()
            logits[done : done + len(part)] = part
            done += len(part)
            self._observer.progress(f"Teacher's logits, view {view + 1}", done, len(logits))
        return logits


def _save(path: Path, logits: HalfArray) -> None:
    with path.open("wb") as handle:
        np.save(handle, logits)
