"""Scores that the exit rule can test. Does not import torch.

A smaller score means a more certain exit. The score is 0 if one class has all the probability, and
largest if all classes have the same. All scores therefore share one rule, `score < θ`, with θ = 0
for never and θ = inf for always: in torch, in the threshold search and in exported graphs. A
measure that grows with certainty is inverted: 1 - p, for example, instead of the largest
probability p.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Score:
    """Uncertainty of an exit, 0 or more. A smaller score means a more certain exit.

    name, unit: stored in `thresholds.json` as `criterion` and `unit`.
    largest: number of classes → score of the uniform distribution.
    of: log-probabilities [..., classes] → score [...]. It uses only tensor methods, so that the
    ONNX exporter can trace it.
    """

    name: str
    unit: str
    largest: Callable[[int], float]
    of: Callable[[Tensor], Tensor]

    def value(self, logits: Tensor) -> Tensor:
        """Score of logits [..., classes], float32 [...]."""
        return self.of(logits.float().log_softmax(dim=-1))


def _entropy(log_probabilities: Tensor) -> Tensor:
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1)


ENTROPY = Score("entropy", "nats", largest=math.log, of=_entropy)

SCORES = {score.name: score for score in (ENTROPY,)}
