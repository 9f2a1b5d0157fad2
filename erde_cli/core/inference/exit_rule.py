"""The exit rule: thresholds, temperatures, and the precision they belong to; without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from erde_cli.core.device import Precision


@dataclass(frozen=True)
class ExitRule:
    """θ of the early exits in nats, temperatures of all exits, and the precision they belong to."""

    thresholds: tuple[float, ...]
    temperatures: tuple[float, ...] | None = None
    precision: Precision = "float32"
