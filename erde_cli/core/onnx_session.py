"""Exported files run by ONNX Runtime: one that stops early, or stages that batches pass through."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from erde_cli.core.errors import BundleError
from erde_cli.core.files import digest_of_file, read_json
from erde_cli.core.thresholds import WrittenThreshold, read_threshold

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MANIFEST = "manifest.json"
FORMAT = 1
Images = NDArray[Any]


@dataclass(frozen=True)
class Answers:
    """Of every image: probabilities float32 [images, classes], label and exit int64 [images]."""

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    exits: NDArray[np.int64]


class Exported(Protocol):
    """An exported network that answers images."""

    @property
    def weights_digest(self) -> str:
        """Digest of the weights it was made from."""
        ...

    @property
    def thresholds(self) -> list[float]:
        """θ of the early exits in nats that it comes with."""
        ...

    def run(self, images: Images, thresholds: Sequence[float] | None = None) -> Answers:
        """Let each image leave at its exit; under the calibrated thresholds where none are given.

        Args:
            images: uint8 [images, height, width, 3]; without preprocessing, normalised float32
                [images, 3, height, width].
            thresholds: θ of the early exits in nats.
        """
        ...


class StageDocument(BaseModel):
    """One stage's file, beside the manifest, and its SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    digest: str


class Manifest(BaseModel):
    """What `manifest.json` of staged files holds; thresholds in nats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    stages: list[StageDocument]
    thresholds: list[WrittenThreshold]
    preprocessing: bool
    image_size: int
    class_names: list[str]
    weights_digest: str
    calibration: dict[str, Any]
    versions: dict[str, str]


def float32_from_above(thresholds: Sequence[float]) -> NDArray[np.float32]:
    """The smallest float32 numbers not below thresholds: `score < θ` stays what it was.

    Scores are float32. Between θ and the next float32 above it lies no score that could differ.
    """
    wide = np.asarray(thresholds, dtype=np.float64)
    narrow = wide.astype(np.float32)
    up = np.nextafter(narrow, np.float32(np.inf))
    found: NDArray[np.float32] = np.where(narrow.astype(np.float64) < wide, up, narrow)
    return found


def open_exported(path: Path, threads: int | None = None) -> Exported:
    """Open what `erde export` wrote: a file, or a folder of stages.

    Raises:
        BundleError: it is missing, damaged, or not what erde writes.
    """
    return StagedFiles(path, threads) if path.is_dir() else StoppingFile(path, threads)


class StoppingFile:
    """One file for one image at a time, whose graph stops early."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self._session = _session(path, threads)
        found = self._session.get_modelmeta().custom_metadata_map
        try:
            self.weights_digest = found["erde.weights_digest"]
            written = json.loads(found["erde.calibration"])["thresholds"]
            self.thresholds = [read_threshold(value) for value in written]
        except (KeyError, ValueError, TypeError) as error:
            raise _not_ours(path, error) from error

    def run(self, images: Images, thresholds: Sequence[float] | None = None) -> Answers:
        """Answer images one by one; see `Exported`."""
        feed = {} if thresholds is None else {"thresholds": float32_from_above(thresholds)}
        rows = [
            self._session.run(None, {"image": images[place : place + 1], **feed})
            for place in range(len(images))
        ]
        probabilities, labels, exits = (
            np.concatenate(column) for column in zip(*rows, strict=True)
        )
        return Answers(probabilities, labels, exits)


class StagedFiles:
    """One file for each stage; those images go on that have not left."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self.manifest = read_manifest(folder)
        self.weights_digest = self.manifest.weights_digest
        self.thresholds = [read_threshold(value) for value in self.manifest.thresholds]
        self._sessions = [_session(folder / one.file, threads) for one in self.manifest.stages]

    def run(self, images: Images, thresholds: Sequence[float] | None = None) -> Answers:
        """Answer a batch; see `Exported`."""
        limits = float32_from_above(self.thresholds if thresholds is None else thresholds)
        waiting, features = np.arange(len(images)), images
        probabilities = np.empty((len(images), len(self.manifest.class_names)), np.float32)
        labels, exits = (np.empty(len(images), np.int64) for _ in range(2))
        for exit_, session in enumerate(self._sessions):
            found, label, score, *onward = session.run(None, {"images": features})
            last = exit_ == len(self._sessions) - 1
            leaves = np.ones(len(waiting), bool) if last else score < limits[exit_]
            gone = waiting[leaves]
            probabilities[gone], labels[gone], exits[gone] = found[leaves], label[leaves], exit_
            waiting = waiting[~leaves]
            if not len(waiting):
                break
            features = onward[0][~leaves]
        return Answers(probabilities, labels, exits)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of staged files, and see that they are whole.

    Raises:
        BundleError: a file is missing or damaged, lies elsewhere, or is not what erde writes.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate(read_json(path))
    except ValidationError as error:
        raise _not_ours(path, error.errors()[0]["msg"]) from error
    if len(manifest.thresholds) != len(manifest.stages) - 1:
        raise _not_ours(path, f"{len(manifest.thresholds)} thresholds")
    for stage in manifest.stages:
        file = folder / stage.file
        if Path(stage.file).name != stage.file:
            raise _not_ours(path, f"a file elsewhere: {stage.file}")
        if not file.is_file() or digest_of_file(file) != stage.digest:
            raise _not_ours(file, "missing or damaged")
    return manifest


def _session(path: Path, threads: int | None) -> InferenceSession:
    import onnxruntime

    if not path.is_file():
        raise BundleError(
            f"There is no exported network at {path}.", hint="make one with: erde export BUNDLE"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own kinds have no common base
        raise _not_ours(path, str(error).splitlines()[0]) from error


def _not_ours(path: Path, why: object) -> BundleError:
    return BundleError(
        f"{path} is not what erde export writes.",
        got=str(why),
        hint="export the bundle again with: erde export BUNDLE",
    )
