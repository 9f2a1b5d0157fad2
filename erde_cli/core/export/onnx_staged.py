"""A folder with one ONNX file per stage, for batches, and a manifest.

Each file takes `image` (the first) or `features`, and returns `probabilities`, `label` and `score`
of its exit. All but the last also return `next_features`, the input of the next file.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from torch import Tensor

from erde_cli.core.export.network import ExportNetwork, ExportStage
from erde_cli.core.export.onnx_graph import graph_of, model_of
from erde_cli.core.export.record import write_manifest
from erde_cli.core.inference.routing import score_of

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
    for index, example in enumerate(exported.stage_examples()):
        is_last = index == exported.network.exit_count - 1
        kind, gives = (_LastStage, _OUTPUTS[:-1]) if is_last else (_Stage, _OUTPUTS)
        module = kind(exported, index).eval()
        graph = graph_of(module, example, "features" if index else "image", gives)
        graph.name = f"stage{index}"
        files.append(f"stage{index}.onnx")
        onnx.save(model_of(graph, {}), folder / files[-1])
    write_manifest(folder, files, exported.record)
