"""Predict decoded images with an exported network, with the interface of `Predictor`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from erde_cli.core.export.onnx_runtime import OnnxNetwork
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.inference.prediction import Predicted
from erde_cli.core.platform.batch_size import images_at_once_on_cpu


class OnnxPredictor:
    """An exported network with the interface of `Predictor`; it contains the temperatures."""

    def __init__(self, network: OnnxNetwork) -> None:
        self._model = network.model
        self.class_names = self._model.class_names
        self.image_size = self._model.image_size
        self.rules = self._model.metadata.rules
        self.cumulative_macs = self._model.cumulative_macs

    def batch_size(self, batch: int | None) -> int:
        """Number of images passed at once; a single ONNX file runs them one by one."""
        return batch or images_at_once_on_cpu(self.image_size)

    def answer(self, pixels: Tensor, rule: ExitRule, batch: int | None = None) -> Predicted:
        """Route decoded images, uint8 [images, height, width, 3], under a rule."""
        parts = [
            self._model.columns(part.numpy(), rule.thresholds)
            for part in torch.split(pixels, self.batch_size(batch))
        ]
        columns = (
            torch.from_numpy(np.concatenate([getattr(part, name) for part in parts]))
            for name in ("labels", "confidences", "entropies", "exits")
        )
        return Predicted(*columns)
