"""An exported network to be timed in ONNX Runtime: leaving at each exit, each exit alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from torch import Tensor

from erde_cli.core.export.network import ExportNetwork
from erde_cli.core.export.onnx_graph import graph_of, model_of
from erde_cli.core.export.onnx_runtime import OnnxNetwork
from erde_cli.core.measurement.latency import static_network

_IMAGE, _LOGITS = "image", "logits"


def write_exit_alone(exported: ExportNetwork, exit_: int, path: Path) -> None:
    """Write the stages up to an exit and its head as one file: no earlier head, nothing decided.

    Raises:
        ErdeError: what comes out is not valid ONNX.
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
        """What lets images leave under thresholds."""
        run = self._network.under(thresholds)
        return lambda images: run(images.numpy())

    def alone(self, exit_: int) -> Callable[[Tensor], object]:
        """What runs an exit as a static network."""
        session, names = self._alone[exit_], [_LOGITS]
        return lambda images: session.run(names, {_IMAGE: images.numpy()})

    def exits(self, thresholds: Sequence[float], images: Tensor) -> NDArray[np.int64]:
        """Where images leave, int64 [batch]."""
        return self._network.under(thresholds)(images.numpy()).exits
