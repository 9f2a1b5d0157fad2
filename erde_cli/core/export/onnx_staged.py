"""A folder with one ONNX file per stage, for batches, and a manifest.

Each file takes `image` (the first) or `features`, and returns `probabilities`, `label` and `score`
of its exit; portable ones return `logits` only. All but the last also return `next_features`, the
input of the next file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from torch import Tensor, nn

from erde_cli.core.export.network import ExportNetwork, ExportStage
from erde_cli.core.export.onnx_graph import graph_of, model_of
from erde_cli.core.export.onnx_logits import LOGITS, PortableStage, require_portable
from erde_cli.core.export.record import ExportRecord, Quantisation, write_manifest
from erde_cli.core.inference.routing import score_of
from erde_cli.core.runner.metadata import PREFIX

_OUTPUTS = ("probabilities", "label", "score", "next_features")


class _Stage(ExportStage):
    """Input of a stage → probabilities, label and score of its exit, and the features."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.stage(images)
        logits = self.head(features)
        scaled = logits if self._temperature is None else logits / self._temperature
        score = score_of(logits, self._temperature, self._score)
        return scaled.softmax(dim=-1), logits.argmax(dim=-1), score, features


class _LastStage(_Stage):
    """The same without the features."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return super().forward(images)[:-1]


def write_stages(exported: ExportNetwork, folder: Path) -> None:
    """Write the files of the stages and the manifest into a folder.

    Raises:
        ErdeError: the result is not valid ONNX.
    """
    files = []
    record = exported.record
    for index, example in enumerate(exported.stage_examples()):
        module, gives = _module(exported, index)
        graph = graph_of(module.eval(), example, "features" if index else "image", gives)
        graph.name = f"stage{index}"
        require_portable(graph, record)
        files.append(f"stage{index}.onnx")
        onnx.save(stage_model(graph, record, index), folder / files[-1])
    write_manifest(folder, files, record)


def stage_model(
    graph: onnx.GraphProto, record: ExportRecord, index: int, how: Quantisation | None = None
) -> onnx.ModelProto:
    """ONNX model of a stage: the metadata of the network, and the number of the stage from 0."""
    about_file = {f"{PREFIX}stage": str(index)}
    if how is not None:
        about_file[f"{PREFIX}quantisation"] = how.model_dump_json()
    return model_of(graph, record, about_file)


def describe_stages(
    folder: Path, files: Sequence[str], record: ExportRecord, how: Quantisation
) -> None:
    """Rewrite the metadata of quantised stages, whose manifest is written afterwards."""
    for index, name in enumerate(files):
        graph = onnx.load(folder / name).graph
        onnx.save(stage_model(graph, record, index, how), folder / name)


def _module(exported: ExportNetwork, index: int) -> tuple[nn.Module, tuple[str, ...]]:
    """A stage, and the names of its outputs."""
    is_last = index == exported.network.exit_count - 1
    if exported.record.portable:
        return PortableStage(exported, index), (LOGITS, "next_features")[: 1 if is_last else 2]
    if is_last:
        return _LastStage(exported, index), _OUTPUTS[:-1]
    return _Stage(exported, index), _OUTPUTS
