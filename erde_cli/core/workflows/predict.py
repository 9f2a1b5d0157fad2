"""`erde predict`: what a model says of images, as they come, in memory that does not grow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from erde_cli.core.errors import DataError, brief
from erde_cli.core.export.runtimes import Runtime
from erde_cli.core.images.decoders import decode_arrived, decode_stream
from erde_cli.core.images.decoding import Decoded
from erde_cli.core.images.named_paths import Named
from erde_cli.core.images.passed_over import PassedOver
from erde_cli.core.images.pixels import Traits, doubts
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.inference.prediction import Answering, Prediction, rows_of
from erde_cli.core.storage.json_files import Json
from erde_cli.core.thresholds.target import Target
from erde_cli.core.thresholds.written import write_threshold
from erde_cli.core.workflows.open_model import open_model
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.predict_thresholds import Chosen, choose

TITLE = "Predicting"


@dataclass(frozen=True)
class Rows:
    """Some images: their paths and what they show; and what could not be read, and why."""

    paths: list[str]
    predictions: list[Prediction]
    failed: list[Named]
    class_names: tuple[str, ...]
    exit_count: int


@dataclass(frozen=True)
class Totals:
    """All images together; `seconds` start after the model has been loaded.

    counts: images that left at each exit, [exits]. cumulative_macs: [exits].
    """

    chosen: Chosen
    counts: tuple[int, ...]
    failed: int
    seconds: float
    cumulative_macs: tuple[int, ...]
    runtime: Runtime

    @property
    def images(self) -> int:
        """Images that were predicted."""
        return sum(self.counts)

    @property
    def unit(self) -> str:
        """Unit of the thresholds."""
        return self.chosen.rule.score.unit

    @property
    def expected_macs(self) -> float | None:
        """MACs of one image, in the mean; None without images."""
        if not self.images:
            return None
        return float(np.dot(self.counts, self.cumulative_macs)) / self.images

    def to_json(self) -> Json:
        """What stands under `totals`."""
        full, expected = self.cumulative_macs[-1], self.expected_macs
        return {
            "images": self.images,
            "failed": self.failed,
            "seconds": self.seconds,
            "images_per_second": self.images / self.seconds if self.seconds else 0.0,
            "exit_rates": [count / self.images for count in self.counts] if self.images else None,
            "expected_macs": expected,
            "cumulative_macs": list(self.cumulative_macs),
            "full_macs": full,
            "macs_saved": None if expected is None else 1 - expected / full,
            "thresholds": [write_threshold(value) for value in self.chosen.rule.thresholds],
            "target": self.chosen.target.model_dump(),
            "certified": self.chosen.certified,
            "runtime": self.runtime,
        }


@dataclass(frozen=True)
class PredictRequest:
    """How images are answered, apart from the model.

    threshold: θ for all early exits, in the place of the bundle's thresholds. pick: the target of a
    stored point to use in their place; the bundle stays as it is. batch: how many images the
    network is given at once. total: how many images there are, where it is known. runtime: what
    computes; with ONNX Runtime, a bundle is exported first. passed: what was left out of folders
    while the images were found. live: images arrive one by one: the model is opened before the
    first one is waited for, and whatever has arrived is answered at once.
    """

    threshold: str | None = None
    pick: Target | None = None
    batch: int | None = None
    total: int | None = None
    runtime: Runtime = "torch"
    passed: PassedOver | None = None
    live: bool = False


def predict_images(
    path: Path,
    images: Iterable[Named],
    options: Options,
    write: Callable[[Rows], object],
    request: PredictRequest = PredictRequest(),
) -> Totals:
    """Predict images as they are found, and hand the rows on as they are there.

    Args:
        path: the bundle, or what was exported from it.
        images: taken a little ahead of the rows, and no further.
        options: device, threads, observer.
        write: is given the rows in the order of the images.
        request: thresholds, batch, runtime.

    Raises:
        BundleError: the model is unusable, or has no thresholds and none are given.
        DataError: the paths lead to no file at all; nothing has been written then.
    """
    lost: deque[Named] = deque()
    files = _files(images, lost)
    first = "" if request.live else next(files, None)
    if first is None:
        raise _nothing(lost)
    model = open_model(path, request.runtime, options)
    chosen = choose(model, options, request.threshold, request.pick)
    work = _Work(model.answering, chosen.rule, request, options)
    options.observer.phase(TITLE)
    start = perf_counter()
    with closing(_decoded(chain([first], files), model.answering, request)) as chunks:
        for some, found in chunks:
            if some or lost:
                write(work.rows(list(some), found, lost))
    if lost:
        write(work.rows([], None, lost))
    if not work.done:
        raise _nothing(lost)
    seconds = perf_counter() - start
    work.end()
    counts, macs = tuple(work.counts.tolist()), model.answering.cumulative_macs
    return Totals(chosen, counts, work.failed, seconds, macs, request.runtime)


class _Work:
    """The model's side, and what is counted of it."""

    def __init__(
        self,
        answering: Answering,
        rule: ExitRule,
        request: PredictRequest,
        options: Options,
    ) -> None:
        self.answering = answering
        self.counts = np.zeros(len(answering.cumulative_macs), dtype=np.int64)
        self.failed = 0
        self.traits = Traits()
        self._rule, self._request, self._observer = rule, request, options.observer

    @property
    def done(self) -> int:
        """Images and failures so far."""
        return int(self.counts.sum()) + self.failed

    def rows(self, paths: list[str], decoded: Decoded | None, lost: deque[Named]) -> Rows:
        """Predict a chunk; `lost`, which is emptied, are paths that led to no file."""
        failed = [lost.popleft() for _ in range(len(lost))]
        predictions: list[Prediction] = []
        if decoded is not None:
            self.traits = self.traits.and_(decoded.traits)
            bad = {**decoded.unreadable, **decoded.unopened}
            failed += [Named(paths[place], reason) for place, reason in sorted(bad.items())]
            good = [place for place in range(len(paths)) if place not in bad]
            paths = [paths[place] for place in good]
            predictions = self._answers(decoded, good)
        self.failed += len(failed)
        for named in failed:
            self._observer.warning(f"{named.path}: {named.reason}", again=True)
        total = self._request.total
        if total is None:
            self._observer.count(TITLE, self.done)
        elif self.done < total:
            self._observer.progress(TITLE, self.done, total)
        return Rows(paths, predictions, failed, self.answering.class_names, len(self.counts))

    def end(self) -> None:
        """Report that all is done, what was left out, and what is odd about the pixels."""
        self._observer.progress(TITLE, self.done, self.done)
        if self._request.passed is not None:
            self._request.passed.show(self._observer)
        for doubt in doubts(self.traits, self.answering.rules):
            self._observer.warning(doubt)

    def _answers(self, decoded: Decoded, good: list[int]) -> list[Prediction]:
        if not good:
            return []
        size = self.answering.image_size
        # The bytes may be read only; torch wants memory that it could write to.
        pixels = torch.frombuffer(bytearray(decoded.pixels), dtype=torch.uint8)
        pixels = pixels.view(-1, size, size, 3)
        if len(good) < len(pixels):
            pixels = pixels[torch.tensor(good)]
        found = self.answering.answer(pixels, self._rule, self._request.batch)
        rows = rows_of(self.answering, found)
        self.counts += np.bincount(found.exits.numpy(), minlength=len(self.counts))
        return rows


def _decoded(
    paths: Iterable[str], answering: Answering, request: PredictRequest
) -> Generator[tuple[Sequence[str], Decoded | None], None, None]:
    wanted = answering.image_size, answering.rules
    if request.live:
        return decode_arrived(paths, wanted)
    return decode_stream(paths, wanted, answering.batch_size(request.batch))


def _files(images: Iterable[Named], lost: deque[Named]) -> Iterator[str]:
    """Paths of files, "" where one is waited for; what leads to none is put aside until then."""
    for named in images:
        if named.reason:
            lost.append(named)
        else:
            yield named.path


def _nothing(lost: deque[Named]) -> DataError:
    listed = [f"  {brief(named.path) or repr('')}: {named.reason}" for named in list(lost)[:10]]
    listed += [f"  ... and {len(lost) - 10} more"] if len(lost) > 10 else []
    return DataError(
        "\n".join(["There is no image to predict.", *listed]),
        got="" if listed else "an empty list of paths",
        expected="image files, folders of them, patterns, or - for a list of paths on stdin",
        hint="quote a pattern that erde is to expand: 'photos/**/*.jpg'",
    )
