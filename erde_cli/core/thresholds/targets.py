"""What thresholds are chosen for: one class for each target. Imports nothing heavy.

A target answers what the search, `--pick`, the promise, `thresholds.json` and the tables ask of it.
A new one is a class in `TARGETS`, an option of `erde calibrate` and a key of the recipe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal, NoReturn, Protocol

from erde_cli.core.errors import InputError
from erde_cli.core.thresholds.written import WrittenThreshold, read_threshold, write_threshold

Risk = Literal["disagreement", "accuracy-gap"]
Metric = Literal["accuracy", "balanced_accuracy"]
Need = Literal["labels", "latencies", "bounds of risk"]
Unit = Literal["points", "%", "MACs", "ms"]

CONFIDENCE = 0.9  # of --max-risk, where none is given
ROUNDING = 1e-9  # by which figures may miss a target and still meet it


class Figures(Protocol):
    """What thresholds give on a set of images: all that a target may ask for.

    by_metric, full_by_metric: accuracy or balanced accuracy, adaptive and of the last exit; None
    without labels. agreement: share of images answered as the last exit answers. exit_rates:
    [exits]. expected_macs: MACs per image. expected_latency: ms per image; None where not measured.
    bound: upper bound of a risk; None where none was tested.
    """

    @property
    def by_metric(self) -> float | None: ...  # noqa: D102
    @property
    def full_by_metric(self) -> float | None: ...  # noqa: D102
    @property
    def agreement(self) -> float | None: ...  # noqa: D102
    @property
    def exit_rates(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def expected_macs(self) -> float: ...  # noqa: D102
    @property
    def expected_latency(self) -> float | None: ...  # noqa: D102
    def bound(self, risk: Risk) -> float | None: ...  # noqa: D102


@dataclass(frozen=True)
class Target:
    """What the thresholds are chosen for, `value` in `unit`; each subclass is a kind of target.

    As it stands: the most accurate, at any cost. metric: what is kept or maximised, where the kind
    has one. needs: what must be measured. bounds: the values that are allowed, in words.
    """

    kind: ClassVar[str]
    option: ClassVar[str]
    metavar: ClassVar[str]
    unit: ClassVar[str]
    asked: ClassVar[str]
    bounds: ClassVar[str]
    example: ClassVar[str]
    has_metric: ClassVar[bool] = True
    needs: ClassVar[Need | None] = None
    promises: ClassVar[bool] = False

    value: float
    metric: Metric = field(default="accuracy", kw_only=True)

    @staticmethod
    def allows(value: float) -> bool:
        """Whether a value is within the bounds."""
        return 0 < value <= 1

    @classmethod
    def checked(cls, value: float | str) -> float:
        """The value, where it is within the bounds.

        Raises:
            InputError: it is not.
        """
        if isinstance(value, str) or not cls.allows(value):
            refuse(cls.option, value, cls.bounds, cls.example)
        return value

    @property
    def written_value(self) -> WrittenThreshold:
        """The value as it stands in JSON."""
        return self.value

    @property
    def in_words(self) -> str:
        """What is asked for, as a table's title says it."""
        settings = {one.name: getattr(self, one.name) for one in fields(self)}
        measure = self.metric.replace("_", " ")
        return self.asked.format_map({**settings, "value": self.written_value, "measure": measure})

    @property
    def needs_labels(self) -> str | None:
        """The option that needs labelled images; None where none does."""
        return f"--metric {self.metric}" if self.metric == "balanced_accuracy" else None

    @property
    def given(self) -> float | None:
        """The threshold in nats that is given; None where thresholds are searched."""
        return None

    @property
    def by_agreement(self) -> bool:
        """Whether answers count as right where they are the last exit's, whatever the labels."""
        return False

    def estimated(self) -> Target:
        """The target that is searched for where nothing can be promised."""
        return self

    def cost(self, macs: Sequence[float], latencies: Sequence[float] | None) -> Sequence[float]:
        """What leaving at each exit costs, [exits], in the unit of the budget; MACs without one."""
        return macs

    def least_accuracy(self, full: float) -> float | None:
        """Least accuracy by the metric, where the last exit has `full`; None: cost is limited."""
        return None

    def most_cost(self, full: float) -> float:
        """Most that an image may cost on average, where the last exit costs `full`."""
        return full

    def excess(self, figures: Figures, full_macs: float) -> float:
        """By how much figures miss the target; 0 or less where they meet it."""
        return 0.0

    def met(self, figures: Figures, full_macs: float) -> bool:
        """Whether figures meet the target."""
        return self.excess(figures, full_macs) <= ROUNDING

    def preference(self, figures: Figures, full_macs: float) -> tuple[float, float, float]:
        """Order in which stored points are picked: least violation, then the cheaper."""
        violation = max(self.excess(figures, full_macs) - ROUNDING, 0.0)
        return violation, figures.expected_macs, -_accuracy(figures)

    def reached(self, figures: Figures) -> tuple[float, Unit]:
        """What figures give where the target asks, and its unit."""
        return figures.expected_macs, "MACs"


def _accuracy(figures: Figures) -> float:
    """By the metric; of unlabelled images, the share that agrees with the last exit."""
    return (figures.agreement if figures.by_metric is None else figures.by_metric) or 0.0


def _full_accuracy(figures: Figures) -> float:
    return 1.0 if figures.full_by_metric is None else figures.full_by_metric


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
        least = self.least_accuracy(_full_accuracy(figures))
        return math.inf if least is None else least - _accuracy(figures)


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
        return 100 * (_full_accuracy(figures) - _accuracy(figures)), "points"


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
        return _accuracy(figures), "%"


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


def refuse(option: str, value: object, expected: str, example: str) -> NoReturn:
    """Refuse a value of an option.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"{option} is out of bounds.",
        got=str(value),
        expected=expected,
        hint=f"type for instance {option} {example}",
    )
