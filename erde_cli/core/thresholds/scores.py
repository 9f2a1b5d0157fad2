"""Scores that the exit rule can test, each one object. Imports no torch.

Every score is written so that smaller is surer: 0 where one class has all the probability, the most
where all classes have the same. So one rule does for all of them, `score < θ`, with θ = 0 for never
and θ = inf for always: in torch, in the search of thresholds, and in an exported graph. A figure
that grows with certainty is turned round: not the largest probability p is tested, but 1 - p.
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
    """How unsure an exit is: a number from 0 up, smaller is surer.

    name, unit: as `thresholds.json` writes them, under `criterion` and `unit`.
    largest: the score of the uniform distribution over a number of classes.
    of: log-probabilities [..., classes] → score [...]. It is made of methods of a tensor: the
    exporter traces them, and so they are the score's form in an ONNX graph as well.
    """

    name: str
    unit: str
    largest: Callable[[int], float]
    of: Callable[[Tensor], Tensor]

    def value(self, logits: Tensor) -> Tensor:
        """Score of logits [..., classes] in the score's unit, float32 [...].

        Args:
            logits: [..., classes], any floating type; computed in float32.
        """
        return self.of(logits.float().log_softmax(dim=-1))


def _entropy(log_probabilities: Tensor) -> Tensor:
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1)


ENTROPY = Score("entropy", "nats", largest=math.log, of=_entropy)

SCORES = {score.name: score for score in (ENTROPY,)}
