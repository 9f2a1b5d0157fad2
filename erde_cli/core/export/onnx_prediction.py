"""Predict decoded images with an exported network, with the interface of `Predictor`."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import entr
from torch import Tensor

from erde_cli.core.arrays import Array, Float32Array
from erde_cli.core.device import images_at_once
from erde_cli.core.export.check import Exported
from erde_cli.core.export.record import ExportedAnswers
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.inference.prediction import Predicted
from erde_cli.core.thresholds.scores import ENTROPY


class OnnxPredictor:
    """An exported network with the interface of `Predictor`; it contains the temperatures."""

    def __init__(self, network: Exported) -> None:
        record = network.record
        self._network = network
        self.class_names = tuple(record.class_names)
        self.image_size = record.image_size
        self.rules = record.rules
        self.cumulative_macs = tuple(record.cumulative_macs)

    def batch_size(self, batch: int | None) -> int:
        """Number of images passed at once; a single ONNX file runs them one by one."""
        return batch or images_at_once(self.image_size, torch.device("cpu"))

    def answer(self, pixels: Tensor, rule: ExitRule, batch: int | None = None) -> Predicted:
        """Route decoded images, uint8 [images, height, width, 3], under a rule."""
        parts = torch.split(pixels, self.batch_size(batch))
        columns = zip(*(self._part(part, rule) for part in parts), strict=True)
        return Predicted(*(torch.from_numpy(np.concatenate(column)) for column in columns))

    def _part(self, pixels: Tensor, rule: ExitRule) -> tuple[Array, ...]:
        answers = self._network.answer(pixels.numpy(), rule.thresholds)
        confidences = answers.probabilities[np.arange(len(answers.labels)), answers.labels]
        if answers.scores is not None and self._network.record.score == ENTROPY:
            return answers.labels, confidences, answers.scores, answers.exits
        return answers.labels, confidences, _entropies(answers), answers.exits


def _entropies(answers: ExportedAnswers) -> Float32Array:
    """Entropy at the exit taken in nats, float32 [images]; a single file returns no scores."""
    entropies = entr(answers.probabilities.astype(np.float64)).sum(axis=1)
    return np.asarray(entropies, np.float32)
