"""What every target of a calibration answers, and asks of figures. Imports nothing heavy."""

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
        return violation, figures.expected_macs, -accuracy_of(figures)

    def reached(self, figures: Figures) -> tuple[float, Unit]:
        """What figures give where the target asks, and its unit."""
        return figures.expected_macs, "MACs"


def accuracy_of(figures: Figures) -> float:
    """By the metric; of unlabelled images, the share that agrees with the last exit."""
    return (figures.agreement if figures.by_metric is None else figures.by_metric) or 0.0


def full_accuracy_of(figures: Figures) -> float:
    """Of the last exit, by the metric; 1 without labels."""
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
        hint=f"type for instance {option} {example}",
    )
