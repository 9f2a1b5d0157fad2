"""Run exports in ONNX Runtime: one file that stops early, or a folder of stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from pydantic import ValidationError

from erde_cli.core.arrays import Array, ImageArray
from erde_cli.core.device import images_at_once
from erde_cli.core.errors import BundleError, InputError, brief, first_reason
from erde_cli.core.export.formats import MANIFEST
from erde_cli.core.export.input_record import whole_images
from erde_cli.core.export.record import (
    PREFIX,
    ExportedAnswers,
    ExportRecord,
    float32_thresholds,
    read_manifest,
)
from erde_cli.core.export.refusals import require_runnable_stages, require_whole
from erde_cli.core.storage.json_files import JsonError

_ERRORS_ONLY = 3  # severity of ONNX Runtime's messages on stderr
AGAIN = "export it again: erde export BUNDLE --format onnx --out FILE"


Run = Callable[[Array], ExportedAnswers]


class OnnxNetwork(ABC):
    """An exported network, ready to answer."""

    def __init__(self, record: ExportRecord) -> None:
        self.record = record

    def answer(
        self, pixels: ImageArray, thresholds: Sequence[float] | None = None
    ) -> ExportedAnswers:
        """Route images.

        Args:
            pixels: uint8 [images, height, width, 3] of the network's size, at least one.
            thresholds: θ of the early exits; None: those in the file.

        Raises:
            InputError: there are too few or too many thresholds.
            BundleError: the file fails, or its answers are not those of an export of erde.
        """
        early = self.record.exit_count - 1
        if thresholds is not None and len(thresholds) != early:
            raise InputError(
                "The number of thresholds does not match the early exits.",
                got=str(len(thresholds)),
                expected=str(early),
                hint="give one for all early exits, or one for each",
            )
        try:
            answers = self.under(thresholds)(self.record.inputs(pixels))
            _require_valid(answers, len(pixels), self.record)
            return answers
        except Exception as error:
            raise BundleError(
                f"The exported network does not give the answers of an export of erde: {error}",
                expected="a file or a folder written by erde export",
                hint=AGAIN,
            ) from error

    @abstractmethod
    def under(self, thresholds: Sequence[float] | None) -> Run:
        """Function that routes preprocessed images under thresholds; None: those in the file."""


class OneFile(OnnxNetwork):
    """One file that stops early, for one image at a time."""

    def __init__(self, path: Path, threads: int | None) -> None:
        self._session = open_session(path, threads)
        super().__init__(_record_of(self._session, path))

    def under(self, thresholds: Sequence[float] | None) -> Run:
        """Function that routes preprocessed images one by one; its answers have no scores."""
        given = {}
        if thresholds is not None and len(thresholds):
            given = {"thresholds": float32_thresholds(thresholds)}
        names = ["label", "exit", "probabilities"]
        described = self.record.described_input
        resizes = described.resized_by == "graph"

        def row(image: Array) -> Any:
            whole = whole_images(image, described) if resizes else image
            return self._session.run(names, {"image": whole, **given})

        def run(inputs: Array) -> ExportedAnswers:
            rows = [row(inputs[at : at + 1]) for at in range(len(inputs))]
            if len(rows) == 1:
                return ExportedAnswers(*rows[0])
            return ExportedAnswers(*map(np.concatenate, zip(*rows, strict=True)))

        return run


class Staged(OnnxNetwork):
    """One file per stage, for batches that shrink from stage to stage."""

    def __init__(self, folder: Path, threads: int | None) -> None:
        manifest = read_manifest(folder)
        require_runnable_stages(folder, manifest.network.portable)
        self._sessions = [open_session(folder / stage.file, threads) for stage in manifest.stages]
        super().__init__(manifest.network)

    def under(self, thresholds: Sequence[float] | None) -> Run:
        """Function that routes preprocessed images, in batches that suit a CPU."""
        limits = self.record.thresholds if thresholds is None else thresholds
        size = images_at_once(self.record.image_size, torch.device("cpu"))

        def run(inputs: Array) -> ExportedAnswers:
            starts = range(0, len(inputs), size)
            parts = [self._batch(inputs[at : at + size], limits) for at in starts]
            return ExportedAnswers(*map(np.concatenate, zip(*parts, strict=True)))

        return run

    def _batch(self, inputs: Array, thresholds: Sequence[float]) -> tuple[Array, ...]:
        count, classes = len(inputs), len(self.record.class_names)
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


def open_exported(path: Path, threads: int | None = None) -> OnnxNetwork:
    """Open an export: an ONNX file, or a folder of stages with its manifest.

    Args:
        path: the file or the folder.
        threads: of ONNX Runtime; None: one for each core.

    Raises:
        BundleError: it is missing, damaged, or was not written by erde.
    """
    if path.is_dir():
        if not (path / MANIFEST).is_file():
            raise BundleError(
                f"{path} has no {MANIFEST}.",
                expected="a folder of stages",
                hint="export it again with: erde export BUNDLE --format onnx-staged --out FOLDER",
            )
        return Staged(path, threads)
    if not path.is_file():
        raise BundleError(
            f"There is no file {path}.", hint=AGAIN, expected="a file written by erde export"
        )
    return OneFile(path, threads)


def open_session(path: Path, threads: int | None) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU.

    Args:
        path: of the file; it is read at once.
        threads: of ONNX Runtime; None: one for each core.

    Raises:
        BundleError: it is damaged, or not an ONNX file.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or 0
    try:
        _refuse_other_files(path)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(
            f"{path} cannot be run: {error}", expected="a file written by erde export", hint=AGAIN
        ) from error


def _require_valid(answers: ExportedAnswers, images: int, record: ExportRecord) -> None:
    """Check shapes and ranges of answers: an untrusted file can return anything."""
    classes = len(record.class_names)
    for numbers, count in ((answers.labels, classes), (answers.exits, record.exit_count)):
        if numbers.shape != (images,) or not np.isin(numbers, np.arange(count)).all():
            raise ValueError(f"numbers from 0 to {count - 1} expected, one for each image")
    if answers.probabilities.shape != (images, classes):
        raise ValueError("a probability for each class expected")


def _refuse_other_files(path: Path) -> None:
    """Check that a file refers to no others, which could be anywhere; exports of erde do not.

    A tensor with external data has the key "location". The word can occur elsewhere as well, so
    then the tensors are checked.
    """
    content = path.read_bytes()
    if b"location" not in content:
        return
    import onnx

    for tensor in _tensors(onnx.load_model_from_string(content)):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError(f"the tensor {tensor.name!r} is in another file")


def _tensors(message: Any) -> Iterator[Any]:
    """All tensors in an ONNX message, at any depth."""
    waiting = [message]
    while waiting:
        one = waiting.pop()
        if one.DESCRIPTOR.name == "TensorProto":
            yield one
        for field, value in one.ListFields():
            if field.message_type is not None:
                waiting += [value] if hasattr(value, "DESCRIPTOR") else list(value)


def _record_of(session: onnxruntime.InferenceSession, path: Path) -> ExportRecord:
    metadata = session.get_modelmeta().custom_metadata_map
    if not any(name.startswith(PREFIX) for name in metadata):
        stage = (path.parent / MANIFEST).is_file()
        raise BundleError(
            f"{path} has no metadata of erde about its classes and exits.",
            got="one stage of several" if stage else "an ONNX file from elsewhere",
            hint=f"give the folder of all stages: {path.parent}" if stage
            else "make one: erde export BUNDLE --format onnx --out FILE",
            expected="a file written by erde export",
        )  # fmt: skip
    inputs = [*session.get_inputs(), *session.get_overridable_initializers()]
    require_whole(path, metadata, [one.name for one in inputs])
    return read_record(session, path)


def read_record(session: onnxruntime.InferenceSession, path: Path) -> ExportRecord:
    """Metadata of an opened file.

    Raises:
        BundleError: they are not what erde writes.
    """
    try:
        return ExportRecord.from_metadata(session.get_modelmeta().custom_metadata_map)
    except (ValidationError, JsonError) as error:
        raise BundleError(
            f"The metadata in {path} is not what erde export writes.",
            got=first_reason(error) if isinstance(error, ValidationError) else brief(str(error)),
            hint=AGAIN,
            expected="a file written by erde export",
        ) from error
