"""What thresholds are chosen for: one class for each target. Imports nothing heavy.

A target answers what the search, `--pick`, the promise, `thresholds.json` and the tables ask of it.
A new one is a class in `_CLASSES`, an option of `erde calibrate` and a key of the recipe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar

from erde_cli.core.thresholds.target import (
    Figures,
    Need,
    Risk,
    Target,
    Unit,
    accuracy_of,
    full_accuracy_of,
)
from erde_cli.core.thresholds.written import WrittenThreshold, read_threshold, write_threshold

CONFIDENCE = 0.9  # of --max-risk, where none is given


class Threshold(Target):
    """One θ for all early exits."""

    kind, option, metavar, unit = "threshold", "--threshold", "NATS", "nats"
    asked = "θ {value} for all exits"
    has_metric = False

    @staticmethod
    def allows(value: float) -> bool:
        """From 0 to infinity."""
        return value >= 0

    @classmethod
    def checked(cls, value: float | str) -> float:
        """θ in nats, of its written form."""
        return read_threshold(value)

    @property
    def written_value(self) -> WrittenThreshold:
        """Nats, "always" or "never"."""
        return write_threshold(self.value)

    @property
    def given(self) -> float | None:
        """θ itself: nothing is searched."""
        return self.value


class Floor(Target):
    """The cheapest that is accurate enough."""

    needs: ClassVar[Need | None] = "labels"

    @property
    def needs_labels(self) -> str | None:
        """The option itself."""
        return self.option

    def excess(self, figures: Figures, full_macs: float) -> float:
        """By how much the least accuracy is missed."""
        least = self.least_accuracy(full_accuracy_of(figures))
        return math.inf if least is None else least - accuracy_of(figures)


class MaxDrop(Floor):
    """At most so many points of accuracy below the last exit."""

    kind, option, metavar, unit = "max_drop", "--max-drop", "POINTS", "points"
    asked = "at most {value} points below the last exit"
    bounds, example = "accuracy points from 0 to 100", "1"

    @staticmethod
    def allows(value: float) -> bool:
        """From 0 to 100."""
        return 0 <= value <= 100

    def least_accuracy(self, full: float) -> float | None:
        """So many points below the last exit."""
        return full - self.value / 100

    def reached(self, figures: Figures) -> tuple[float, Unit]:
        """Points below the last exit."""
        return 100 * (full_accuracy_of(figures) - accuracy_of(figures)), "points"


class MinAccuracy(Floor):
    """At least so accurate."""

    kind, option, metavar = "min_accuracy", "--min-accuracy", "SHARE"
    asked = "{measure} of {value} or more"
    unit = "share of right answers"
    bounds = "a share of right answers, above 0 and at most 1; 0.85 is 85 %"
    example = "0.85"

    def least_accuracy(self, full: float) -> float | None:
        """The value itself."""
        return self.value

    def reached(self, figures: Figures) -> tuple[float, Unit]:
        """Accuracy by the metric."""
        return accuracy_of(figures), "%"


class Budget(Target):
    """The most accurate within a budget."""

    def preference(self, figures: Figures, full_macs: float) -> tuple[float, float, float]:
        """Least violation, then the more accurate."""
        violation, macs, accuracy = super().preference(figures, full_macs)
        return violation, accuracy, macs


class MaxMacs(Budget):
    """At most such a share of the full MACs."""

    kind, option, metavar, unit = "max_macs", "--max-macs", "RATIO", "share of full MACs"
    asked = "at most {value} of the full MACs"
    bounds, example = "a share of the full MACs, above 0 and at most 1", "0.5"

    def most_cost(self, full: float) -> float:
        """MACs."""
        return self.value * full

    def excess(self, figures: Figures, full_macs: float) -> float:
        """Share of the full MACs above the budget."""
        return figures.expected_macs / full_macs - self.value


class MaxLatency(Budget):
    """At most so many milliseconds per image."""

    kind, option, metavar, unit = "max_latency", "--max-latency", "MS", "ms"
    asked = "at most {value} ms per image"
    bounds, example = "milliseconds per image, above 0", "5"
    needs: ClassVar[Need | None] = "latencies"

    @staticmethod
    def allows(value: float) -> bool:
        """Above 0."""
        return 0 < value < math.inf

    def cost(self, macs: Sequence[float], latencies: Sequence[float] | None) -> Sequence[float]:
        """Milliseconds."""
        if latencies is None:
            raise ValueError("max_latency needs the latency of every exit")
        return latencies

    def most_cost(self, full: float) -> float:
        """Milliseconds."""
        return self.value

    def excess(self, figures: Figures, full_macs: float) -> float:
        """Share of the budget that is spent beyond it."""
        return (figures.expected_latency or math.inf) / self.value - 1

    def reached(self, figures: Figures) -> tuple[float, Unit]:
        """Milliseconds per image."""
        return figures.expected_latency or math.inf, "ms"


@dataclass(frozen=True)
class MaxRisk(Target):
    """The cheapest whose risk is at most ε, promised with a confidence."""

    kind, option, metavar, unit = "max_risk", "--max-risk", "EPS", "share of images"
    asked = "{risk} of at most {value}, confidence {confidence}"
    bounds, example = "a share of images, above 0 and below 1; 0.05 is 5 %", "0.05"
    has_metric = False
    needs: ClassVar[Need | None] = "bounds of risk"
    promises = True

    risk: Risk = field(default="disagreement", kw_only=True)
    confidence: float = field(default=CONFIDENCE, kw_only=True)

    @staticmethod
    def allows(value: float) -> bool:
        """Above 0 and below 1."""
        return 0 < value < 1

    @property
    def needs_labels(self) -> str | None:
        """The risk, where it is one of accuracy."""
        return None if self.by_agreement else f"--risk {self.risk}"

    @property
    def by_agreement(self) -> bool:
        """Disagreement counts other answers than the last exit's."""
        return self.risk == "disagreement"

    def estimated(self) -> Target:
        """A risk of ε is 100 ε points below the last exit."""
        return MaxDrop(100 * self.value)

    def excess(self, figures: Figures, full_macs: float) -> float:
        """By how much the bound of the risk is above ε; inf without a bound."""
        bound = figures.bound(self.risk)
        return math.inf if bound is None else bound - self.value


_CLASSES: tuple[type[Target], ...] = (
    Threshold, MaxDrop, MinAccuracy, MaxMacs, MaxLatency, MaxRisk,
)  # fmt: skip
TARGETS = {one.kind: one for one in _CLASSES}


def make_target(kind: str, value: float, **settings: float | str | None) -> Target:
    """A target of a kind, with those settings (metric, risk, confidence) that it has."""
    made = TARGETS[kind]
    names = {one.name for one in fields(made)}
    known = {name: one for name, one in settings.items() if name in names and one is not None}
    return made(value, **known)  # type: ignore[arg-type]
