"""Calibration targets, one class for each. Imports nothing heavy.

The search, `--pick`, the guarantee, `thresholds.json` and the tables use these classes. A new
target needs a class in `_CLASSES`, an option of `erde calibrate` and a recipe key.
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
from erde_cli.core.thresholds.written import (
    WrittenThreshold,
    for_each_exit,
    read_threshold,
    write_threshold,
)


@dataclass(frozen=True)
class Threshold(Target):
    """θ in nats: `value` for all early exits, or `per_exit`, whose first is `value`."""

    kind, option, metavar, unit = "threshold", "--threshold", "NATS", "nats"
    phrase = "θ {value} for all exits"
    has_metric = False

    per_exit: tuple[float, ...] | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, thetas: float | tuple[float, ...]) -> Threshold:
        """The target of one θ, or of one for each early exit (at least one)."""
        return cls(thetas[0], per_exit=thetas) if isinstance(thetas, tuple) else cls(thetas)

    @staticmethod
    def allows(value: float) -> bool:
        """Whether θ is at least 0."""
        return value >= 0

    @classmethod
    def check(cls, value: float | str) -> float:
        """θ in nats from its written form."""
        return read_threshold(value)

    @property
    def written_value(self) -> WrittenThreshold | list[WrittenThreshold]:
        """Written form of θ."""
        if self.per_exit is None:
            return write_threshold(self.value)
        return [write_threshold(theta) for theta in self.per_exit]

    @property
    def in_words(self) -> str:
        """Description of the target, for titles of tables."""
        if self.per_exit is None:
            return super().in_words
        return f"θ {', '.join(str(write_threshold(theta)) for theta in self.per_exit)}"

    def fixed_thresholds(self, early: int) -> tuple[float, ...] | None:
        """θ in nats, [early]."""
        return for_each_exit(self.value if self.per_exit is None else self.per_exit, early)


class Floor(Target):
    """A target for the cheapest thresholds that are accurate enough."""

    needs: ClassVar[Need | None] = "labels"

    @property
    def needs_labels(self) -> str | None:
        """The option of the target."""
        return self.option

    def excess(self, figures: Figures, full_macs: float) -> float:
        """By how much accuracy is below `least_accuracy`."""
        least = self.least_accuracy(full_accuracy_of(figures))
        return math.inf if least is None else least - accuracy_of(figures)


class MaxDrop(Floor):
    """Largest drop of accuracy below the last exit, in points."""

    kind, option, metavar, unit = "max_drop", "--max-drop", "POINTS", "points"
    phrase = "at most {value} points below the last exit"
    bounds, example = "accuracy points from 0 to 100", "1"

    @staticmethod
    def allows(value: float) -> bool:
        """Whether the value is from 0 to 100."""
        return 0 <= value <= 100

    def least_accuracy(self, full: float) -> float | None:
        """`value` points below the last exit."""
        return full - self.value / 100

    def reached(self, figures: Figures) -> tuple[float, Unit]:
        """Drop below the last exit in points."""
        return 100 * (full_accuracy_of(figures) - accuracy_of(figures)), "points"


class MinAccuracy(Floor):
    """Smallest accuracy, as a share of correct answers."""

    kind, option, metavar = "min_accuracy", "--min-accuracy", "SHARE"
    phrase = "{measure} of {value} or more"
    unit = "share of right answers"
    bounds = "a share of correct answers, above 0 and at most 1; 0.85 is 85 %"
    example = "0.85"

    def least_accuracy(self, full: float) -> float | None:
        """The value itself."""
        return self.value

    def reached(self, figures: Figures) -> tuple[float, Unit]:
        """Accuracy by the metric."""
        return accuracy_of(figures), "%"


class Budget(Target):
    """A target for the most accurate thresholds within a cost limit."""

    def preference(self, figures: Figures, full_macs: float) -> tuple[float, float, float]:
        """Sort key: smallest violation first, then highest accuracy."""
        violation, macs, accuracy = super().preference(figures, full_macs)
        return violation, accuracy, macs


class MaxMacs(Budget):
    """Largest expected MACs, as a share of the full MACs."""

    kind, option, metavar, unit = "max_macs", "--max-macs", "RATIO", "share of full MACs"
    phrase = "at most {value} of the full MACs"
    bounds, example = "a share of the full MACs, above 0 and at most 1", "0.5"

    def most_cost(self, full: float) -> float:
        """Largest mean MACs per image."""
        return self.value * full

    def excess(self, figures: Figures, full_macs: float) -> float:
        """Excess over the limit, as a share of the full MACs."""
        return figures.expected_macs / full_macs - self.value


class MaxLatency(Budget):
    """Largest expected latency in ms per image."""

    kind, option, metavar, unit = "max_latency", "--max-latency", "MS", "ms"
    phrase = "at most {value} ms per image"
    bounds, example = "milliseconds per image, above 0", "5"
    needs: ClassVar[Need | None] = "latencies"

    @staticmethod
    def allows(value: float) -> bool:
        """Whether the value is positive and finite."""
        return 0 < value < math.inf

    def cost(self, macs: Sequence[float], latencies: Sequence[float] | None) -> Sequence[float]:
        """Latency of each exit in ms, [exits]."""
        if latencies is None:
            raise ValueError("max_latency needs the latency of every exit")
        return latencies

    def most_cost(self, full: float) -> float:
        """Largest mean latency in ms per image."""
        return self.value

    def excess(self, figures: Figures, full_macs: float) -> float:
        """Excess over the limit, as a share of the limit."""
        return (figures.expected_latency or math.inf) / self.value - 1

    def reached(self, figures: Figures) -> tuple[float, Unit]:
        """Expected latency in ms per image."""
        return figures.expected_latency or math.inf, "ms"


@dataclass(frozen=True)
class MaxRisk(Target):
    """A target for the cheapest thresholds with a guaranteed risk of at most ε."""

    kind, option, metavar, unit = "max_risk", "--max-risk", "EPS", "share of images"
    phrase = "{risk} of at most {value}, confidence {confidence}"
    bounds, example = "a share of images, above 0 and below 1; 0.05 is 5 %", "0.05"
    has_metric = False
    needs: ClassVar[Need | None] = "bounds of risk"
    guarantees = True

    risk: Risk = field(default="disagreement", kw_only=True)
    confidence: float = field(default=0.9, kw_only=True)

    @staticmethod
    def allows(value: float) -> bool:
        """Whether ε is above 0 and below 1."""
        return 0 < value < 1

    @property
    def needs_labels(self) -> str | None:
        """The risk, unless it is disagreement."""
        return None if self.by_agreement else f"--risk {self.risk}"

    @property
    def by_agreement(self) -> bool:
        """Whether the risk is disagreement with the last exit."""
        return self.risk == "disagreement"

    def estimated(self) -> Target:
        """A drop of 100 ε points below the last exit."""
        return MaxDrop(100 * self.value)

    def excess(self, figures: Figures, full_macs: float) -> float:
        """By how much the bound of the risk exceeds ε; inf without a bound."""
        bound = figures.bound(self.risk)
        return math.inf if bound is None else bound - self.value


_CLASSES: tuple[type[Target], ...] = (
    Threshold, MaxDrop, MinAccuracy, MaxMacs, MaxLatency, MaxRisk,
)  # fmt: skip
TARGETS = {target.kind: target for target in _CLASSES}


def make_target(kind: str, value: float, **settings: float | str | None) -> Target:
    """Make a target of a kind; settings (metric, risk, confidence) that it lacks are ignored."""
    target = TARGETS[kind]
    names = {field.name for field in fields(target)}
    known = {name: value for name, value in settings.items() if name in names and value is not None}
    return target(value, **known)  # type: ignore[arg-type]
