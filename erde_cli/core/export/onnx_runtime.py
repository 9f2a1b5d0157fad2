"""Exported networks in ONNX Runtime: one file that stops early, or a folder of stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from erde_cli.core.device import images_at_once
from erde_cli.core.errors import BundleError, InputError, brief, first_reason
from erde_cli.core.export.formats import MANIFEST
from erde_cli.core.export.record import (
    PREFIX,
    ExportedAnswers,
    ExportRecord,
    float32_thresholds,
    read_manifest,
)
from erde_cli.core.storage.json_files import JsonError

Pixels = NDArray[np.uint8]
Array = NDArray[Any]

_ERRORS_ONLY = 3  # severity of what ONNX Runtime says on stderr
_AGAIN = "export it again: erde export BUNDLE --format onnx --out FILE"


Run = Callable[[Array], ExportedAnswers]


class OnnxNetwork(ABC):
    """An exported network that is ready to answer."""

    def __init__(self, record: ExportRecord) -> None:
        self.record = record

    def answer(self, pixels: Pixels, thresholds: Sequence[float] | None = None) -> ExportedAnswers:
        """Let images leave at their exits.

        Args:
            pixels: uint8 [images, height, width, 3] of the network's size, at least one.
            thresholds: θ of the early exits; those in the file where left out.

        Raises:
            InputError: there are too few or too many thresholds.
        """
        early = self.record.exit_count - 1
        if thresholds is not None and len(thresholds) != early:
            raise InputError(
                "There must be one threshold for each early exit.",
                got=str(len(thresholds)),
                expected=str(early),
                hint="give one for all early exits, or one for each",
            )
        try:
            found = self.under(thresholds)(self.record.inputs(pixels))
            _require_own(found, len(pixels), self.record)
            return found
        except Exception as error:
            raise BundleError(
                f"The exported network does not answer as erde's do: {error}",
                expected="a file or a folder written by erde export",
                hint=_AGAIN,
            ) from error

    @abstractmethod
    def under(self, thresholds: Sequence[float] | None) -> Run:
        """`answer` under thresholds, without what comes before the network."""


class OneFile(OnnxNetwork):
    """One file, one image at a time; the file decides."""

    def __init__(self, path: Path, threads: int | None) -> None:
        self._session = open_session(path, threads)
        super().__init__(_record_of(self._session, path))

    def under(self, thresholds: Sequence[float] | None) -> Run:
        """`answer` under thresholds, without what comes before the network; it tells no scores."""
        given = {}
        if thresholds is not None and len(thresholds):
            given = {"thresholds": float32_thresholds(thresholds)}
        names = ["label", "exit", "probabilities"]

        def run(inputs: Array) -> ExportedAnswers:
            found = [
                self._session.run(names, {"image": inputs[at : at + 1], **given})
                for at in range(len(inputs))
            ]
            if len(found) == 1:
                return ExportedAnswers(*found[0])
            return ExportedAnswers(*(np.concatenate(column) for column in zip(*found, strict=True)))

        return run


class Staged(OnnxNetwork):
    """A file per stage, and batches that shrink from stage to stage."""

    def __init__(self, folder: Path, threads: int | None) -> None:
        manifest = read_manifest(folder)
        self._sessions = [open_session(folder / stage.file, threads) for stage in manifest.stages]
        super().__init__(manifest.network)

    def under(self, thresholds: Sequence[float] | None) -> Run:
        """`answer` under thresholds, without what comes before; so many at once as suit a CPU."""
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
        sure, taken = np.empty((count, classes), np.float32), np.empty(count, np.float32)
        waiting, features = np.arange(count), inputs
        for index, session in enumerate(self._sessions):
            name = session.get_inputs()[0].name
            probabilities, label, scores, *passed_on = session.run(None, {name: features})
            leaves = np.ones(len(waiting), dtype=bool)
            if passed_on:
                leaves = scores.astype(np.float64) < thresholds[index]
            gone = waiting[leaves]
            exits[gone], labels[gone] = index, label[leaves]
            sure[gone], taken[gone] = probabilities[leaves], scores[leaves]
            waiting = waiting[~leaves]
            if not len(waiting):
                break
            features = passed_on[0][~leaves] if len(gone) else passed_on[0]
        return labels, exits, sure, taken


def open_exported(path: Path, threads: int | None = None) -> OnnxNetwork:
    """Open what `erde export` wrote: an ONNX file, or a folder of stages with its manifest.

    Args:
        path: the file or the folder.
        threads: of ONNX Runtime; as many as there are cores where left out.

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
            f"There is no file {path}.", hint=_AGAIN, expected="what erde export wrote"
        )
    return OneFile(path, threads)


def open_session(path: Path, threads: int | None) -> onnxruntime.InferenceSession:
    """Open one ONNX file on the CPU.

    Raises:
        BundleError: it is damaged, or no ONNX file.
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
            f"{path} cannot be run: {error}", expected="a file written by erde export", hint=_AGAIN
        ) from error


def _require_own(found: ExportedAnswers, images: int, record: ExportRecord) -> None:
    """Check that answers are about these images, classes and exits; a file may answer anything."""
    classes = len(record.class_names)
    for numbers, count in ((found.labels, classes), (found.exits, record.exit_count)):
        if numbers.shape != (images,) or not np.isin(numbers, np.arange(count)).all():
            raise ValueError(f"numbers from 0 to {count - 1} expected, one for each image")
    if found.probabilities.shape != (images, classes):
        raise ValueError("a probability of each class expected")


def _refuse_other_files(path: Path) -> None:
    """Check that a file names no others, which might lie anywhere: erde's hold their weights.

    The key stands in the file as it is wherever a tensor's numbers lie elsewhere; it may stand
    there for other reasons as well, so then the file is looked through.
    """
    content = path.read_bytes()
    if b"location" not in content:
        return
    import onnx

    for tensor in _tensors(onnx.load_model_from_string(content)):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError(f"the tensor {tensor.name!r} lies in another file")


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor in a message of ONNX, at any depth."""
    waiting = [message]
    while waiting:
        one = waiting.pop()
        if one.DESCRIPTOR.name == "TensorProto":
            yield one
        for field, value in one.ListFields():
            if field.message_type is not None:
                waiting += [value] if hasattr(value, "DESCRIPTOR") else list(value)


def _record_of(session: onnxruntime.InferenceSession, path: Path) -> ExportRecord:
    held = session.get_modelmeta().custom_metadata_map
    if not any(name.startswith(PREFIX) for name in held):
        stage = (path.parent / MANIFEST).is_file()
        raise BundleError(
            f"{path} does not say what its classes and exits are, as exports of erde do.",
            got="one stage of several" if stage else "an ONNX file of something else",
            hint=f"give the folder of all stages: {path.parent}" if stage
            else "make one: erde export BUNDLE --format onnx --out FILE",
            expected="a file of erde export",
        )  # fmt: skip
    try:
        return ExportRecord.from_metadata(held)
    except (ValidationError, JsonError) as error:
        raise BundleError(
            f"What {path} says of its network is not what erde export writes.",
            got=first_reason(error) if isinstance(error, ValidationError) else brief(str(error)),
            hint=_AGAIN,
            expected="a file of erde export",
        ) from error
