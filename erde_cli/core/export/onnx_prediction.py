"""What an exported network says of decoded images, in the form in which torch's answers come."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import entr
from torch import Tensor

from erde_cli.core.device import images_at_once
from erde_cli.core.export.check import Exported
from erde_cli.core.export.record import ExportedAnswers
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.inference.prediction import Predicted
from erde_cli.core.thresholds.scores import ENTROPY


class OnnxPredictor:
    """An exported network that answers as `Predictor` does; temperatures are inside of it."""

    def __init__(self, network: Exported) -> None:
        record = network.record
        self._network = network
        self.class_names = tuple(record.class_names)
        self.image_size = record.image_size
        self.rules = record.rules
        self.cumulative_macs = tuple(record.cumulative_macs)

    def batch_size(self, batch: int | None) -> int:
        """How many images the network is given at once; one file takes them one by one."""
        return batch or images_at_once(self.image_size, torch.device("cpu"))

    def answer(self, pixels: Tensor, rule: ExitRule, batch: int | None = None) -> Predicted:
        """Let decoded images, uint8 [images, height, width, 3], leave where the rule says."""
        parts = torch.split(pixels, self.batch_size(batch))
        columns = zip(*(self._part(part, rule) for part in parts), strict=True)
        return Predicted(*(torch.from_numpy(np.concatenate(column)) for column in columns))

    def _part(self, pixels: Tensor, rule: ExitRule) -> tuple[NDArray[Any], ...]:
        found = self._network.answer(pixels.numpy(), rule.thresholds)
        confidences = found.probabilities[np.arange(len(found.labels)), found.labels]
        if found.scores is not None and self._network.record.score == ENTROPY:
            return found.labels, confidences, found.scores, found.exits
        return found.labels, confidences, _entropies(found), found.exits


def _entropies(found: ExportedAnswers) -> NDArray[np.float32]:
    """Entropy at the exit taken in nats, float32 [images]; a single file tells no score."""
    entropies = entr(found.probabilities.astype(np.float64)).sum(axis=1)
    found_as: NDArray[np.float32] = entropies.astype(np.float32)
    return found_as
