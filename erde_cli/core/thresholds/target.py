"""Base class of calibration targets, and the figures that they judge. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal, NoReturn, Protocol

from erde_cli.core.errors import InputError
from erde_cli.core.thresholds.written import WrittenThreshold

Risk = Literal["disagreement", "accuracy-gap"]
Metric = Literal["accuracy", "balanced_accuracy"]
Need = Literal["labels", "latencies", "bounds of risk"]
Unit = Literal["points", "%", "MACs", "ms"]
ROUNDING = 1e-9  # tolerance when figures are compared with a target


class Figures(Protocol):
    """Figures of thresholds on a set of images, as far as targets use them.

    by_metric, full_by_metric: accuracy or balanced accuracy, with early exits and of the last exit;
    None without labels. agreement: share of images with the same answer as the last exit.
    exit_rates: [exits]. expected_macs: MACs per image. expected_latency: ms per image; None if not
    measured. bound: upper bound of a risk; None if not tested.
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
    """A calibration target: `value` in `unit`. Each subclass is a kind of target.

    The base class accepts any cost and prefers accuracy. metric: accuracy that is kept or
    maximised, if `has_metric`. needs: what must be measured. phrase: format of the target's
    description. bounds, example: allowed values and an example, for messages.
    """

    kind: ClassVar[str]
    option: ClassVar[str]
    metavar: ClassVar[str]
    unit: ClassVar[str]
    phrase: ClassVar[str]
    bounds: ClassVar[str]
    example: ClassVar[str]
    has_metric: ClassVar[bool] = True
    needs: ClassVar[Need | None] = None
    guarantees: ClassVar[bool] = False

    value: float
    metric: Metric = field(default="accuracy", kw_only=True)

    @staticmethod
    def allows(value: float) -> bool:
        """Whether a value is within the bounds."""
        return 0 < value <= 1

    @classmethod
    def check(cls, value: float | str) -> float:
        """Value as a number.

        Raises:
            InputError: the value is out of bounds.
        """
        if isinstance(value, str) or not cls.allows(value):
            refuse(cls.option, value, cls.bounds, cls.example)
        return value

    @property
    def written_value(self) -> WrittenThreshold | list[WrittenThreshold]:
        """The value in its JSON form."""
        return self.value

    @property
    def in_words(self) -> str:
        """Description of the target, for titles of tables."""
        settings = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        measure = self.metric.replace("_", " ")
        return self.phrase.format_map({**settings, "value": self.written_value, "measure": measure})

    @property
    def needs_labels(self) -> str | None:
        """The option that needs labelled images; None if no option does."""
        return f"--metric {self.metric}" if self.metric == "balanced_accuracy" else None

    def fixed_thresholds(self, early: int) -> tuple[float, ...] | None:
        """The given thresholds in nats, [early]; None if thresholds are searched.

        Raises:
            InputError: the number of given thresholds is not `early`.
        """
        return None

    @property
    def by_agreement(self) -> bool:
        """Whether the last exit's answers replace the labels."""
        return False

    def estimated(self) -> Target:
        """The target to search if no guarantee is possible."""
        return self

    def cost(self, macs: Sequence[float], latencies: Sequence[float] | None) -> Sequence[float]:
        """Cost of leaving at each exit, [exits], in MACs or in the unit of the budget."""
        return macs

    def least_accuracy(self, full: float) -> float | None:
        """Smallest accuracy, given the last exit's; None: the target limits cost."""
        return None

    def most_cost(self, full: float) -> float:
        """Largest mean cost of an image, given the last exit's cost `full`."""
        return full

    def excess(self, figures: Figures, full_macs: float) -> float:
        """By how much figures miss the target; at most 0 if they meet it."""
        return 0.0

    def met(self, figures: Figures, full_macs: float) -> bool:
        """Whether figures meet the target."""
        return self.excess(figures, full_macs) <= ROUNDING

    def preference(self, figures: Figures, full_macs: float) -> tuple[float, float, float]:
        """Sort key of stored points: smallest violation first, then lowest cost."""
        violation = max(self.excess(figures, full_macs) - ROUNDING, 0.0)
        return violation, figures.expected_macs, -accuracy_of(figures)

    def reached(self, figures: Figures) -> tuple[float, Unit]:
        """The figure that the target limits, or MACs, and its unit."""
        return figures.expected_macs, "MACs"


def accuracy_of(figures: Figures) -> float:
    """Accuracy by the metric; without labels, the agreement with the last exit."""
    return (figures.agreement if figures.by_metric is None else figures.by_metric) or 0.0


def full_accuracy_of(figures: Figures) -> float:
    """Accuracy of the last exit by the metric; 1 without labels."""
    return 1.0 if figures.full_by_metric is None else figures.full_by_metric


def refuse(option: str, value: object, expected: str, example: str) -> NoReturn:
    """Refuse a value of an option.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"{option} is out of bounds.",
        got=str(value),
        expected=expected,
        hint=f"for example: {option} {example}",
    )
