"""A folder with one ONNX file per stage, for those who run batches, and a manifest.

Each file takes `image` (the first) or `features`, and gives `probabilities`, `label` and `score`
of its exit; all but the last also `next_features`, the input of the next.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from erde_cli.core.export.network import ExportNetwork
from erde_cli.core.export.onnx_graph import graph_of, model_of
from erde_cli.core.export.record import write_manifest
from erde_cli.core.inference.routing import score_of
from erde_cli.core.thresholds.scores import Score

_OUTPUTS = ("probabilities", "label", "score", "next_features")


class _Stage(nn.Module):
    """Input of a stage → probabilities, label and score of its exit, and the features."""

    def __init__(
        self, stage: nn.Module, head: nn.Module, temperature: float | None, score: Score
    ) -> None:
        super().__init__()
        self.stage, self.head = stage, head
        self._temperature, self._score = temperature, score

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
    """Fill a folder with the files of the stages and the manifest.

    Raises:
        ErdeError: what comes out is not valid ONNX.
    """
    network, features, files = exported.network, exported.example, []
    temperatures, score = exported.record.temperature_of_exits, exported.record.score
    for index, (stage, head) in enumerate(zip(network.stages, network.heads, strict=True)):
        is_last = index == network.exit_count - 1
        kind, gives = (_LastStage, _OUTPUTS[:-1]) if is_last else (_Stage, _OUTPUTS)
        module = kind(stage, head, temperatures[index], score).eval()
        graph = graph_of(module, features, "features" if index else "image", gives)
        graph.name = f"stage{index}"
        files.append(f"stage{index}.onnx")
        onnx.save(model_of(graph, {}), folder / files[-1])
        with torch.no_grad():
            features = stage(features)
    write_manifest(folder, files, exported.record)
