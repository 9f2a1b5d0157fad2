"""The exit rule: a score, thresholds, temperatures, and their precision; without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from erde_cli.core.thresholds.scores import ENTROPY, Score

if TYPE_CHECKING:
    from erde_cli.core.device import Precision


@dataclass(frozen=True)
class ExitRule:
    """Thresholds, and the score, temperatures and precision they were chosen with.

    thresholds: θ of the early exits in the score's unit, [exits - 1]. temperatures: [exits].
    """

    thresholds: tuple[float, ...]
    temperatures: tuple[float, ...] | None = None
    precision: Precision = "float32"
    score: Score = ENTROPY
