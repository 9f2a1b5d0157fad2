"""The exit rule: a score, thresholds, temperatures, and their precision; without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from erde_cli.core.thresholds.scores import ENTROPY, Score

if TYPE_CHECKING:
    from erde_cli.core.device import Precision


@dataclass(frozen=True)
class ExitRule:
    """What thresholds decide by, and the precision they belong to.

    thresholds: θ of the early exits in the score's unit. temperatures: of all exits.
    """

    thresholds: tuple[float, ...]
    temperatures: tuple[float, ...] | None = None
    precision: Precision = "float32"
    score: Score = ENTROPY
