"""ONNX files that return logits: static networks up to one exit, and portable stages.

A static network takes `image` and returns `logits`, for any batch size. A portable stage takes
`image` or `features`, and returns `logits` and, but for the last, `next_features`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from erde_cli.core.arrays import Float32Array, ImageArray
from erde_cli.core.errors import EXPORT_AGAIN, BundleError, ErdeError, brief
from erde_cli.core.export.check import Exported
from erde_cli.core.export.logits import answers_of_logits
from erde_cli.core.export.network import ExportNetwork, ExportStage
from erde_cli.core.export.onnx_graph import graph_of, model_of, operators
from erde_cli.core.export.onnx_runtime import open_exported, read_record, with_record
from erde_cli.core.export.operators import NOT_PORTABLE
from erde_cli.core.export.record import ExportRecord, manifest_of
from erde_cli.core.platform.batch_size import images_at_once_on_cpu
from erde_cli.core.runner.answers import ExportedAnswers
from erde_cli.core.runner.entries import not_written_by_erde
from erde_cli.core.runner.manifest import MANIFEST, Stages, read_stages, unchanged_files
from erde_cli.core.runner.metadata import parse_entries
from erde_cli.core.runner.model import OneFile, Staged
from erde_cli.core.runner.refusals import is_static
from erde_cli.core.runner.session import open_session
from erde_cli.core.storage.json_files import JsonError

LOGITS = "logits"


class PortableStage(ExportStage):
    """Input of a stage → logits of its exit, and the features; the last without the features."""

    def __init__(self, exported: ExportNetwork, index: int) -> None:
        super().__init__(exported, index)
        self._is_last = index == exported.network.exit_count - 1

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits of a batch, and the input of the next stage."""
        features = self.stage(images)
        logits = self.head(features)
        return (logits,) if self._is_last else (logits, features)


def write_static(exported: ExportNetwork, path: Path, exit_: int) -> None:
    """Write the network up to an exit, without the early heads.

    Raises:
        ErdeError: the result is not valid ONNX, or not portable as requested.
    """
    graph = graph_of(exported.static(exit_), exported.example, "image", [LOGITS])
    graph.name = "erde"
    require_portable(graph, exported.record)
    onnx.save(model_of(graph, exported.record), path)


def require_portable(graph: onnx.GraphProto, record: ExportRecord) -> None:
    """Check that the graph of a portable export has no operator that converters refuse.

    Raises:
        ErdeError: it has one.
    """
    refused = sorted(NOT_PORTABLE & set(operators(graph)))
    if record.portable and refused:
        raise ErdeError(
            "This network has no portable form, because its graph needs operators that converters "
            f"to LiteRT and ncnn refuse: {', '.join(refused)}."
        )


class LogitsFiles:
    """ONNX files that return logits, one after the other: a static network, or portable stages.

    erde runs them to verify them only: all stages see all images.
    """

    def __init__(
        self, sessions: Sequence[onnxruntime.InferenceSession], record: ExportRecord
    ) -> None:
        self.record = record
        self._sessions = sessions

    def logits(self, pixels: ImageArray) -> Float32Array:
        """Logits of uint8 images: [images, exits, classes]; of a static network one exit.

        Raises:
            BundleError: a file fails, or returns something else.
        """
        size = images_at_once_on_cpu(self.record.image_size)
        expected = (len(pixels), len(self.record.answering_exits), len(self.record.class_names))
        try:
            parts = [self._batch(pixels[at : at + size]) for at in range(0, len(pixels), size)]
            found = np.concatenate(parts)
            if found.shape != expected:
                raise ValueError(f"logits {list(expected)} expected")
            if found.dtype != np.float32:
                raise ValueError(f"logits in float32 expected, not {found.dtype}")
        except Exception as error:
            raise BundleError(
                "The exported network does not give the logits of an export of erde: "
                f"{brief(str(error))}",
                expected="a file or a folder written by erde export",
                hint=EXPORT_AGAIN,
            ) from error
        return found

    def answer(
        self, pixels: ImageArray, thresholds: Sequence[float] | None = None
    ) -> ExportedAnswers:
        """Route uint8 images [images, height, width, 3]; None: under the record's thresholds."""
        logits = torch.from_numpy(self.logits(pixels))
        logits = logits if self.record.static_exit is None else logits[:, 0]
        return answers_of_logits(logits, self.record, thresholds)

    def _batch(self, pixels: ImageArray) -> Float32Array:
        of_exits, inputs = [], self.record.inputs(pixels)
        for session in self._sessions:
            name = session.get_inputs()[0].name
            logits, *passed_on = session.run(None, {name: inputs})
            of_exits.append(logits)
            inputs = passed_on[0] if passed_on else inputs
        stacked: Float32Array = np.stack(of_exits, axis=1)
        return stacked


def open_logits(path: Path, threads: int | None = None) -> LogitsFiles:
    """Open a static network (a file) or portable stages (a folder).

    Raises:
        BundleError: it is damaged, or was not written by erde.
    """
    if path.is_dir():
        return _portable(path, read_stages(path), threads)
    return _static(open_session(path, threads), path)


def open_any(path: Path, threads: int | None = None) -> Exported:
    """Open an export of either kind: one that answers, or one that returns logits.

    Its files say which it is, so each is opened once.

    Raises:
        BundleError: it is missing, damaged, or was not written by erde.
    """
    if path.is_dir():
        manifest = read_stages(path)
        if manifest[1]["network"].get("portable") is True:
            return _portable(path, manifest, threads)
        return with_record(Staged(path, manifest, threads), path)
    if not path.is_file():
        return open_exported(path, threads)  # says what is missing
    session = open_session(path, threads)
    if is_static(session.get_modelmeta().custom_metadata_map):
        return _static(session, path)
    return with_record(OneFile(session, path), path)


def _static(session: onnxruntime.InferenceSession, path: Path) -> LogitsFiles:
    try:
        entries = parse_entries(session.get_modelmeta().custom_metadata_map)
    except JsonError as error:
        raise not_written_by_erde(path, str(error)) from error
    return LogitsFiles([session], read_record(entries, path))


def _portable(folder: Path, manifest: Stages, threads: int | None) -> LogitsFiles:
    stages, document = manifest
    record = manifest_of(document, folder / MANIFEST).network
    files = unchanged_files(folder, stages)
    sessions = [open_session(file, threads, one_of_several=True) for file in files]
    return LogitsFiles(sessions, record)
