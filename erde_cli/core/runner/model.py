"""An exported network, ready to answer: one file that stops early, or a folder of stages."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnxruntime

from erde_cli.core.arrays import Array, ImageArray
from erde_cli.core.errors import EXPORT_AGAIN, BundleError, InputError, brief
from erde_cli.core.images.given_images import Images, is_count, pixel_batches, require_batch
from erde_cli.core.inference.rows import Columns, Prediction, prediction_rows
from erde_cli.core.platform.batch_size import images_at_once_on_cpu
from erde_cli.core.runner.answers import ExportedAnswers, float32_thresholds, require_valid
from erde_cli.core.runner.entries import entries_of, not_written_by_erde
from erde_cli.core.runner.manifest import MANIFEST, Stages, read_stages, unchanged_files
from erde_cli.core.runner.metadata import Document, Metadata, read_metadata
from erde_cli.core.runner.refusals import require_runnable_stages
from erde_cli.core.runner.session import EXPECTED, open_session
from erde_cli.core.thresholds.scores import ENTROPY
from erde_cli.core.thresholds.written import Thresholds, for_each_exit, read_thresholds

Run = Callable[[Array], ExportedAnswers]

_MOST_THREADS = 1024


class Model(ABC):
    """An exported network, ready to answer; several threads can share it.

    Attributes:
        metadata: its classes, its exits, and how files become its pixels.
        document: its metadata as JSON: the entries of the file, or the whole manifest.
    """

    def __init__(self, metadata: Metadata, document: Document) -> None:
        self.metadata = metadata
        self.document = document

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, [classes]."""
        return self.metadata.class_names

    @property
    def image_size(self) -> int:
        """Side of the network's images in pixels."""
        return self.metadata.image_size

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return self.metadata.exit_count

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Calibrated θ of the early exits in the score's unit, [exits - 1]; 0 never, inf always."""
        return self.metadata.thresholds

    @property
    def cumulative_macs(self) -> tuple[int, ...]:
        """Multiply-adds of an image that leaves at each exit, [exits]."""
        return self.metadata.cumulative_macs

    def predict(
        self, images: Images, *, thresholds: Thresholds | None = None, batch: int | None = None
    ) -> list[Prediction]:
        """Classify images, each at the exit it leaves at; predictions in their order.

        Args:
            images: one image or several: paths, bytes of image files, binary file objects, PIL
                images, uint8 arrays [height, width, 3] (RGB) or [height, width], of any size.
                Only one batch of them is in memory at a time.
            thresholds: θ in the score's unit (nats), "always" or "never": one for all early exits,
                or one for each; None: the calibrated ones.
            batch: images that are decoded together; None: chosen by their size. A folder of stages
                passes them on in parts that fit a CPU's cache.

        Raises:
            DataError: an input cannot be read as an image.
            InputError: the thresholds or the batch are invalid.
            BundleError: the file fails, or its answers are not those of an export of erde.
        """
        require_batch(batch)
        size = batch or images_at_once_on_cpu(self.image_size)
        rows: list[Prediction] = []
        for pixels in pixel_batches(images, self.image_size, size, self.metadata.rules):
            columns = self.columns(pixels, thresholds)
            rows += prediction_rows(columns, self.class_names, self.cumulative_macs)
        return rows

    def columns(self, pixels: ImageArray, thresholds: Thresholds | None = None) -> Columns:
        """Predictions of pixels; arguments and errors are those of `answer`."""
        answers = self.answer(pixels, thresholds)
        confidences = answers.probabilities[np.arange(len(answers.labels)), answers.labels]
        is_entropy = self.metadata.score == ENTROPY.name
        entropies = answers.scores if is_entropy else None
        if entropies is None:
            entropies = answers.entropies()
        return Columns(answers.labels, confidences, entropies, answers.exits)

    def answer(self, pixels: ImageArray, thresholds: Thresholds | None = None) -> ExportedAnswers:
        """Route images.

        Args:
            pixels: uint8 [images, height, width, 3] of the network's size, at least one.
            thresholds: θ of the early exits; None: those in the file.

        Raises:
            InputError: pixels or thresholds do not fit the network.
            BundleError: the file fails, or its answers are not those of an export of erde.
        """
        array = self._fitting(pixels)
        values = None
        if thresholds is not None:
            values = for_each_exit(read_thresholds(thresholds), self.exit_count - 1)
        try:
            answers = self.under(values)(self.metadata.inputs(array))
            require_valid(answers, len(array), len(self.class_names), self.exit_count)
            return answers
        except Exception as error:
            raise BundleError(
                "The exported network does not give the answers of an export of erde: "
                f"{brief(str(error))}",
                expected="a file or a folder written by erde export",
                hint=EXPORT_AGAIN,
            ) from error

    @abstractmethod
    def under(self, thresholds: Sequence[float] | None) -> Run:
        """Function that routes preprocessed images under thresholds; None: those in the file."""

    def _fitting(self, pixels: object) -> ImageArray:
        side, got = self.image_size, type(pixels).__name__
        with suppress(Exception):  # a ragged list, or a tensor on another device
            array = np.asarray(pixels)
            got = f"{array.dtype} {list(array.shape)}"
            if array.dtype == np.uint8 and array.shape[1:] == (side, side, 3) and len(array):
                return array
        raise InputError(
            "The pixels do not fit the network.",
            got=got,
            expected=f"uint8 [images, {side}, {side}, 3], at least one image",
            hint="pass images of other sizes to predict()",
        )


class OneFile(Model):
    """One file that stops early, for one image at a time."""

    def __init__(self, session: onnxruntime.InferenceSession, path: Path) -> None:
        """The file at `path`, opened in a session."""
        self._session = session
        document = entries_of(session, path)
        super().__init__(_metadata_of(document, path), document)

    def under(self, thresholds: Sequence[float] | None) -> Run:
        """Function that routes preprocessed images one by one; its answers have no scores."""
        given = {}
        if thresholds is not None and len(thresholds):
            given = {"thresholds": float32_thresholds(thresholds)}
        names = ["label", "exit", "probabilities"]
        framed = self.metadata.framed

        def run(inputs: Array) -> ExportedAnswers:
            rows = [
                self._session.run(names, {"image": framed(inputs[at : at + 1]), **given})
                for at in range(len(inputs))
            ]
            if len(rows) == 1:
                return ExportedAnswers(*rows[0])
            return ExportedAnswers(*map(np.concatenate, zip(*rows, strict=True)))

        return run


class Staged(Model):
    """One file per stage, for batches that shrink from stage to stage."""

    def __init__(self, folder: Path, manifest: Stages, threads: int | None) -> None:
        """The folder whose manifest was read; its files are opened here."""
        stages, document = manifest
        require_runnable_stages(folder, document["network"].get("portable") is True)
        metadata = _metadata_of(document["network"], folder / MANIFEST)
        if len(stages) != metadata.exit_count:
            raise not_written_by_erde(
                folder / MANIFEST, f"stages: {metadata.exit_count} stages expected"
            )
        super().__init__(metadata, document)
        files = unchanged_files(folder, stages)
        self._sessions = [open_session(file, threads, one_of_several=True) for file in files]

    def under(self, thresholds: Sequence[float] | None) -> Run:
        """Function that routes preprocessed images, in batches that suit a CPU."""
        limits = self.thresholds if thresholds is None else thresholds
        size = images_at_once_on_cpu(self.image_size)

        def run(inputs: Array) -> ExportedAnswers:
            starts = range(0, len(inputs), size)
            parts = [self._batch(inputs[at : at + size], limits) for at in starts]
            return ExportedAnswers(*map(np.concatenate, zip(*parts, strict=True)))

        return run

    def _batch(self, inputs: Array, thresholds: Sequence[float]) -> tuple[Array, ...]:
        count, classes = len(inputs), len(self.class_names)
        exits, labels = np.empty(count, np.int64), np.empty(count, np.int64)
        outputs, taken = np.empty((count, classes), np.float32), np.empty(count, np.float32)
        waiting, features = np.arange(count), inputs
        for index, session in enumerate(self._sessions):
            name = session.get_inputs()[0].name
            probabilities, label, scores, *passed_on = session.run(None, {name: features})
            leaves = np.ones(len(waiting), dtype=bool)
            if passed_on:
                leaves = scores.astype(np.float64) < thresholds[index]
            leaving = waiting[leaves]
            exits[leaving], labels[leaving] = index, label[leaves]
            outputs[leaving], taken[leaving] = probabilities[leaves], scores[leaves]
            waiting = waiting[~leaves]
            if not len(waiting):
                break
            features = passed_on[0][~leaves] if len(leaving) else passed_on[0]
        return labels, exits, outputs, taken


def open_model(path: str | os.PathLike[str], *, threads: int | None = None) -> Model:
    """Open an export: an ONNX file that stops early, or a folder of stages with its manifest.

    Args:
        path: the file or the folder.
        threads: of ONNX Runtime; None: one for each core.

    Raises:
        BundleError: it is missing, damaged, or was not written by erde.
        InputError: the path is not a path, or the number of threads is invalid.
    """
    _require_threads(threads)
    place = _path_of(path)
    if place.is_dir():
        return Staged(place, read_stages(place), threads)
    if not place.is_file():
        raise BundleError(f"There is no file {place}.", hint=EXPORT_AGAIN, expected=EXPECTED)
    return OneFile(open_session(place, threads), place)


def _require_threads(threads: object) -> None:
    if threads is not None and not is_count(threads, _MOST_THREADS):
        raise InputError(
            "The number of threads is not valid.",
            got=brief(repr(threads)),
            expected=f"a whole number from 1 to {_MOST_THREADS}",
            hint="leave it out for one thread on each core",
        )


def _path_of(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path)
    except TypeError as error:
        raise InputError(
            "This is not the path of an export.",
            got=type(path).__name__,
            expected="a text or a pathlib.Path",
            hint="pass the path of a file or a folder written by erde export",
        ) from error


def _metadata_of(document: object, path: Path) -> Metadata:
    try:
        return read_metadata(document)
    except ValueError as error:
        raise not_written_by_erde(path, str(error)) from error
