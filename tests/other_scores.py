"""Scores that erde does not ship, to show that nothing but the loss assumes entropy."""

import pytest
from torch import Tensor

from erde_cli.core.thresholds.scores import ENTROPY, SCORES, Score


def _all_but_the_likeliest(log_probabilities: Tensor) -> Tensor:
    return 1 - log_probabilities.exp().amax(dim=-1)


def _short_of_a_clear_lead(log_probabilities: Tensor) -> Tensor:
    first, second = log_probabilities.exp().topk(2, dim=-1).values.unbind(dim=-1)
    return 1 - (first - second)


MAX_PROBABILITY = Score(
    "max_probability", "1 - p", lambda classes: 1 - 1 / classes, _all_but_the_likeliest
)
MARGIN = Score("margin", "1 - margin", lambda classes: 1.0, _short_of_a_clear_lead)

OTHERS = (MAX_PROBABILITY, MARGIN)
EVERY = (ENTROPY, *OTHERS)


def name_of(score: Score) -> str:
    """How a test names its parameter."""
    return score.name


def shipped(score: Score, monkeypatch: pytest.MonkeyPatch) -> Score:
    """The score, known to erde until the end of a test as if it shipped it."""
    monkeypatch.setitem(SCORES, score.name, score)
    return score
