"""Time an exported network in ONNX Runtime: each exit, and each exit alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnxruntime
from torch import Tensor

from erde_cli.core.arrays import IntArray
from erde_cli.core.export.onnx_runtime import OnnxNetwork

_IMAGE, _LOGITS = "image", "logits"


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
