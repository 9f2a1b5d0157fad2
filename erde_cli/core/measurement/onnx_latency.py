"""Time an exported network in ONNX Runtime: each exit, and each exit alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import onnxruntime
from torch import Tensor

from erde_cli.core.arrays import IntArray
from erde_cli.core.export.network import ExportNetwork
from erde_cli.core.export.onnx_graph import graph_of, model_of
from erde_cli.core.export.onnx_runtime import OnnxNetwork
from erde_cli.core.measurement.latency import static_network

_IMAGE, _LOGITS = "image", "logits"


def write_exit_alone(exported: ExportNetwork, exit_: int, path: Path) -> None:
    """Write an exit alone as one file: stages up to the exit, and its head.

    Raises:
        ErdeError: the result is not valid ONNX.
    """
    network = static_network(exported.network, exit_).eval()
    graph = graph_of(network, exported.example, _IMAGE, [_LOGITS])
    graph.name = f"exit{exit_}"
    onnx.save(model_of(graph, {}), path)


class OnnxRuns:
    """A network exported without preprocessing, and each of its exits alone."""

    def __init__(self, network: OnnxNetwork, alone: Sequence[onnxruntime.InferenceSession]) -> None:
        self._network, self._alone = network, alone
        self.exit_count = network.record.exit_count

    def leaving(self, thresholds: Sequence[float]) -> Callable[[Tensor], object]:
        """Function that routes images under thresholds."""
        run = self._network.under(thresholds)
        return lambda images: run(images.numpy())

    def alone(self, exit_: int) -> Callable[[Tensor], object]:
        """Function that runs an exit alone."""
        session, names = self._alone[exit_], [_LOGITS]
        return lambda images: session.run(names, {_IMAGE: images.numpy()})

    def exits(self, thresholds: Sequence[float], images: Tensor) -> IntArray:
        """Exit that each image leaves at, int64 [batch]."""
        return self._network.under(thresholds)(images.numpy()).exits
