"""`erde predict`: classify a stream of images in constant memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import perf_counter

import numpy as np

from erde_cli.core.device import check_threads
from erde_cli.core.errors import DataError, InputError, brief
from erde_cli.core.export.runtimes import Runtime
from erde_cli.core.images.decoders import decode_arrived, decode_stream
from erde_cli.core.images.decoding import Decoded
from erde_cli.core.images.named_paths import Named
from erde_cli.core.images.passed_over import PassedOver
from erde_cli.core.images.pixels import Traits, pixel_warnings
from erde_cli.core.inference.at_once import answers_at_once
from erde_cli.core.inference.prediction import Answering, rows_of
from erde_cli.core.inference.rows import Prediction
from erde_cli.core.storage.json_files import Json
from erde_cli.core.thresholds.target import Target
from erde_cli.core.thresholds.written import write_threshold
from erde_cli.core.workflows.open_model import open_model
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.predict_chunks import Chunk, started_chunks
from erde_cli.core.workflows.predict_thresholds import ChosenRule, choose_rule

TITLE = "Predicting"


@dataclass(frozen=True)
class Rows:
    """A chunk of images: their paths and predictions; and the files that could not be read."""

    paths: list[str]
    predictions: list[Prediction]
    failed: list[Named]
    class_names: tuple[str, ...]
    exit_count: int


@dataclass(frozen=True)
class Totals:
    """Totals over all images; `seconds` exclude loading the model.

    counts: images that left at each exit, [exits]. cumulative_macs: MACs per image, [exits].
    """

    chosen: ChosenRule
    counts: tuple[int, ...]
    failed: int
    seconds: float
    cumulative_macs: tuple[int, ...]
    runtime: Runtime

    @property
    def images(self) -> int:
        """Number of images predicted."""
        return sum(self.counts)

    @property
    def unit(self) -> str:
        """Unit of the thresholds."""
        return self.chosen.rule.score.unit

    @property
    def expected_macs(self) -> float | None:
        """Mean MACs per image; None without images."""
        if not self.images:
            return None
        return float(np.dot(self.counts, self.cumulative_macs)) / self.images

    def to_json(self) -> Json:
        """The object `totals` of `--json`."""
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
    """Settings of a prediction.

    threshold: θ instead of the bundle's thresholds, for all early exits or one for each, separated
    by commas. pick: target of a stored point to use instead; the bundle does not change. batch:
    images per call of the network. total: number of images, if known. runtime: with ONNX Runtime,
    a bundle is exported first. passed: files that were skipped in folders. live: images arrive one
    by one. The model is opened before the first one arrives, and each is answered without waiting
    for more. workers: batches answered at once.
    """

    threshold: str | None = None
    pick: Target | None = None
    batch: int | None = None
    total: int | None = None
    runtime: Runtime = "torch"
    passed: PassedOver | None = None
    live: bool = False
    workers: int = 1


def predict_images(
    path: Path,
    images: Iterable[Named],
    options: Options,
    write: Callable[[Rows], object],
    request: PredictRequest = PredictRequest(),
) -> Totals:
    """Predict images as they are found, and pass on the rows of each chunk.

    Args:
        path: the bundle or its export.
        images: read only a little ahead of the rows.
        options: device, threads, observer.
        write: receives the rows in the order of the images.
        request: thresholds, batch, runtime.

    Raises:
        BundleError: the model is unusable, or there are no thresholds.
        DataError: no path leads to a file. `write` has not been called then.
        InputError: more than one worker, and not on the CPU or too many of them.
    """
    _check_workers(request.workers, options)
    missing: deque[Named] = deque()
    files = _files(images, missing)
    first = "" if request.live else next(files, None)
    if first is None:
        raise _no_images_error(missing)
    model = open_model(path, request.runtime, options)
    chosen = choose_rule(model, options, request.threshold, request.pick)
    work = _Prediction(model.answering, request, options)
    options.observer.phase(TITLE)
    start = perf_counter()
    with (
        closing(_decoded(chain([first], files), model.answering, request)) as chunks,
        answers_at_once(model.answering, chosen.rule, request.batch, request.workers) as answer,
    ):
        ahead = request.workers - 1
        for chunk in started_chunks(chunks, missing, answer, model.answering.image_size, ahead):
            if chunk.paths or chunk.failed:
                write(work.rows(chunk))
    if missing:
        write(work.rows(Chunk(failed=missing)))
    if not work.done:
        raise _no_images_error(missing)
    seconds = perf_counter() - start
    work.end()
    counts, macs = tuple(work.counts.tolist()), model.answering.cumulative_macs
    return Totals(chosen, counts, work.failed, seconds, macs, request.runtime)


class _Prediction:
    """Make rows of chunks, and count exits and failures."""

    def __init__(self, answering: Answering, request: PredictRequest, options: Options) -> None:
        self.answering = answering
        self.counts = np.zeros(len(answering.cumulative_macs), dtype=np.int64)
        self.failed = 0
        self.traits = Traits()
        self._request, self._observer = request, options.observer

    @property
    def done(self) -> int:
        """Number of images and failures so far."""
        return int(self.counts.sum()) + self.failed

    def rows(self, chunk: Chunk) -> Rows:
        """Rows of a chunk; files that failed are reported."""
        self.traits = self.traits.merged(chunk.traits)
        predictions: list[Prediction] = []
        if chunk.predicted is not None:
            predicted = chunk.predicted()
            self.counts += np.bincount(predicted.exits.numpy(), minlength=len(self.counts))
            predictions = rows_of(self.answering, predicted)
        self.failed += len(chunk.failed)
        for named in chunk.failed:
            self._observer.warning(f"{named.path}: {named.reason}", again=True)
        total = self._request.total
        if total is None:
            self._observer.count(TITLE, self.done)
        elif self.done < total:
            self._observer.progress(TITLE, self.done, total)
        names = self.answering.class_names
        failed = list(chunk.failed)
        return Rows(list(chunk.paths), predictions, failed, names, len(self.counts))

    def end(self) -> None:
        """Complete the progress bar; report skipped files and doubtful pixels."""
        self._observer.progress(TITLE, self.done, self.done)
        if self._request.passed is not None:
            self._request.passed.show(self._observer)
        for doubt in pixel_warnings(self.traits, self.answering.rules):
            self._observer.warning(doubt)


def _decoded(
    paths: Iterable[str], answering: Answering, request: PredictRequest
) -> Generator[tuple[Sequence[str], Decoded | None], None, None]:
    form = answering.image_size, answering.rules
    if request.live:
        return decode_arrived(paths, form)
    return decode_stream(paths, form, answering.batch_size(request.batch))


def _files(images: Iterable[Named], missing: deque[Named]) -> Iterator[str]:
    """Paths of files ("" while waiting for the next); paths without a file go to `missing`."""
    for named in images:
        if named.reason:
            missing.append(named)
        else:
            yield named.path


def _check_workers(workers: int, options: Options) -> None:
    context = options.context("float32")
    check_threads(context.threads, workers)
    device = context.device.type
    if workers > 1 and device != "cpu":
        raise InputError(
            "Several workers classify images on the CPU only; a GPU takes larger batches instead.",
            got=f"--workers {workers} on {device}",
            expected="one worker, or the CPU",
            hint="leave --workers out and set --batch, or add --device cpu",
        )


def _no_images_error(missing: deque[Named]) -> DataError:
    listed = [f"  {brief(named.path) or repr('')}: {named.reason}" for named in list(missing)[:10]]
    listed += [f"  ... and {len(missing) - 10} more"] if len(missing) > 10 else []
    return DataError(
        "\n".join(["There is no image to predict.", *listed]),
        got="" if listed else "an empty list of paths",
        expected="image files, folders of them, patterns, or - for a list of paths on stdin",
        hint="quote a pattern so that erde expands it: 'photos/**/*.jpg'",
    )
