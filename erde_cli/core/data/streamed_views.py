"""Views of photos whose files are decoded when their batch needs them, in worker processes.

They have the pixels of views of kept photos: the same functions decode, squash and crop them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
import torch
from torch import Tensor

from erde_cli.core.arrays import IntArray
from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.folders import UnreadableError
from erde_cli.core.data.photo_views import PhotoAugmentation
from erde_cli.core.device import Context
from erde_cli.core.errors import DataError
from erde_cli.core.images.decoders import PixelFormat, answers_in_order, cores, worker_processes
from erde_cli.core.images.decoding import Decoded
from erde_cli.core.images.decoding_pipe import Request, decode_request, request_of, serve
from erde_cli.core.images.listing import cannot_open
from erde_cli.core.processes.environment import place_of_process
from erde_cli.core.storage.short_digests import ShortDigests, short_digests

_SERVE = "from erde_cli.core.data.streamed_views import serve_views; serve_views()"


@dataclass(frozen=True)
class PhotoFiles:
    """Files of the photos of a split.

    root: the folder of all. paths: of the files. labels: int64 [n]. numbers: of the files in their
    source, int64 [n]. digests: of the files when they were checked, uint64 [n]. pixel_format: side
    of the squares that crops are cut from, and how files become pixels.
    """

    root: Path
    paths: list[str]
    labels: Tensor
    numbers: IntArray
    digests: ShortDigests
    pixel_format: PixelFormat


def decoding_processes() -> int:
    """Number of processes that decode views: the cores, shared by the processes of this host."""
    place = place_of_process()
    return max(1, cores() // (place.local_size if place else 1))


class StreamedViews:
    """Views of photos that are decoded again in every view, by `decoding_processes`."""

    def __init__(self, files: PhotoFiles, augmentation: PhotoAugmentation) -> None:
        self._files, self._augmentation = files, augmentation
        self._labels = files.labels
        self._idle: _Workers | None = None  # between two epochs

    @property
    def labels(self) -> Tensor:
        """Label of each image, int64 [n], on the device of the views."""
        return self._labels

    @property
    def numbers(self) -> IntArray:
        """Number of each image in its source, int64 [n]."""
        return self._files.numbers

    @property
    def side(self) -> int:
        """Side of a view, in pixels."""
        return self._augmentation.side

    def on(self, context: Context) -> StreamedViews:
        """The same views on the context's device."""
        views = StreamedViews(self._files, self._augmentation)
        views._labels = context.to_device(self._labels)
        return views

    def batches(self, parts: Iterable[IntArray], seed: int, view: int) -> Iterator[Tensor]:
        """Views of one batch after the other, uint8 [batch, side, side, 3].

        Raises:
            DataError: a file has changed, or can no longer be read.
            ErdeError: a worker process has died.
        """
        count = decoding_processes()
        requests = (
            ((positions, is_last), self._request(positions, seed, view))
            for batch in parts
            for positions, is_last in _shares(batch, count)
        )
        workers, self._idle = self._idle or _Workers(count), None
        pieces = []
        with closing(answers_in_order(requests, _views, workers.processes)) as answers:
            for (positions, is_last), decoded in answers:
                self._check(positions, decoded)
                pieces.append(np.frombuffer(decoded.pixels, np.uint8))
                if is_last:
                    images = torch.from_numpy(np.concatenate(pieces))
                    images = images.view(-1, self.side, self.side, 3)
                    yield images.to(self._labels.device, non_blocking=True)
                    pieces = []
        self._idle = workers

    def _request(self, positions: IntArray, seed: int, view: int) -> Request:
        files = self._files
        return {
            **request_of([files.paths[position] for position in positions], *files.pixel_format),
            "augmentation": asdict(self._augmentation),
            "numbers": files.numbers[positions].tolist(),
            "seed": seed,
            "view": view,
        }

    def _check(self, positions: IntArray, decoded: Decoded) -> None:
        """Check that photos are those whose splits and fingerprint are known.

        Raises:
            DataError: they are not.
        """
        files = self._files
        for at, reason in decoded.unopened.items():
            raise cannot_open(files.paths[positions[at]], reason)
        same = short_digests(decoded.digests) == files.digests[positions]
        if not same.all():
            raise DataError(
                f"{files.paths[positions[same.argmin()]]} changed during the training.",
                got="other content than at the start",
                expected="photos that do not change",
                hint="put the file back, and type the same command to go on; with other photos "
                "it starts again",
            )
        for at, reason in decoded.unreadable.items():  # for example, if memory is exhausted
            raise UnreadableError(files.root, [(Path(files.paths[positions[at]]), reason)])


class _Workers:
    """Processes that make views. They end with this object, or with this process."""

    def __init__(self, count: int) -> None:
        stack = ExitStack()
        self.processes = stack.enter_context(worker_processes(_SERVE, count))
        finalize(self, stack.close)


def serve_views() -> None:
    """Answer requests for views on stdin, in a worker process."""
    torch.set_num_threads(1)  # every core has a process
    serve(_views)


def _shares(batch: IntArray, count: int) -> Iterator[tuple[IntArray, bool]]:
    """Shares of a batch for `count` processes, and whether each is the last."""
    shares = np.array_split(batch, min(count, len(batch)))
    for number, share in enumerate(shares, 1):
        yield share, number == len(shares)


def _views(request: Request) -> Decoded:
    """Decode the photos of a request, and replace their pixels by those of views."""
    augmentation = _augmentation(request["augmentation"])
    decoded = decode_request(request)
    size, side = request["size"], augmentation.side
    photos = np.frombuffer(bytearray(decoded.pixels), np.uint8).reshape(-1, size, size, 3)
    ratios = np.array(decoded.ratios, np.float32).tolist()  # as the cache keeps them
    views = np.empty((len(photos), side, side, 3), np.uint8)
    for image, photo, ratio, number in zip(views, photos, ratios, request["numbers"], strict=True):
        image[:] = augmentation.view_of(photo, ratio, number, request["seed"], request["view"])
    return decoded._replace(pixels=views.tobytes())


def _augmentation(document: dict[str, Any]) -> PhotoAugmentation:
    after = document["after"]
    plan = AugmentationPlan(**{**after, "fill": tuple(after["fill"])})
    return PhotoAugmentation(**{**document, "after": plan})
