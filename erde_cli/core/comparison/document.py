"""The results of a comparison, typed; `to_json` gives the form of `results.json`.

A label names a student. Its key in `results.json` is "method".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from erde_cli.core.comparison.exit_quality import ExitQuality, Saving
from erde_cli.core.comparison.paired import Difference, Verdict
from erde_cli.core.comparison.summary import Summary, labelled
from erde_cli.core.inference.entropy_gap import EntropyGap
from erde_cli.core.storage.json_files import Json
from erde_cli.core.thresholds.written import WrittenThreshold, write_threshold

Measure = Literal["auc", "auc_one_threshold"]


@dataclass(frozen=True)
class Failed:
    """A network that could not be trained, and why. label: a student's, or "teacher"."""

    seed: int
    label: str
    reason: str

    def to_json(self) -> Json:
        """As an object."""
        return labelled(self)


@dataclass(frozen=True)
class CurvePoint:
    """Thresholds, their cost as a share of the full MACs, and their accuracy, 0 to 1."""

    thresholds: list[WrittenThreshold]
    cost: float
    accuracy: float


@dataclass(frozen=True)
class ExitResult:
    """An exit on test images; its cumulative MACs, and its MACs without earlier heads."""

    quality: ExitQuality
    cumulative_macs: float
    static_macs: float

    def to_json(self) -> Json:
        """As one object."""
        macs = {"cumulative_macs": self.cumulative_macs, "static_macs": self.static_macs}
        return {**asdict(self.quality), **macs}


@dataclass(frozen=True)
class NetworkResult:
    """A network on test images: its curve and its exits. at_budgets: None where not reachable."""

    full_macs: float
    static_macs: float
    least_cost: float
    auc: float
    at_budgets: list[float | None]
    points: list[CurvePoint]
    exits: list[ExitResult]

    def to_json(self) -> Json:
        """As an object."""
        return {**asdict(self), "exits": [one.to_json() for one in self.exits]}


@dataclass(frozen=True)
class WrongShares:
    """Share of images that each exit of a teacher gets wrong. train: augmented; None if unknown."""

    train: list[float] | None
    calibration: list[float]
    test: list[float]


@dataclass(frozen=True)
class TeacherResult:
    """A teacher. accuracy: of the last exit on test images."""

    seed: int
    bundle: str
    accuracy: float
    wrong: WrongShares
    network: NetworkResult

    def to_json(self) -> Json:
        """As one object."""
        document = asdict(self)
        del document["network"]
        return {**document, **self.network.to_json()}


@dataclass(frozen=True)
class Sweep:
    """Cost and accuracy at each value of one θ for all exits."""

    auc: float
    cost: list[float]
    accuracy: list[float]


@dataclass(frozen=True)
class StudentResult:
    """A student. savings, entropy_gaps: None if the seed has no teacher."""

    seed: int
    label: str
    bundle: str
    network: NetworkResult
    savings: list[Saving] | None
    entropy_gaps: list[EntropyGap] | None
    one_threshold: Sweep

    def to_json(self) -> Json:
        """As one object."""
        gaps, savings = self.entropy_gaps, self.savings
        return {
            "seed": self.seed,
            "method": self.label,
            "bundle": self.bundle,
            **self.network.to_json(),
            "savings": None if savings is None else [one.to_json() for one in savings],
            "entropy_gaps": None if gaps is None else [one.to_json() for one in gaps],
            "one_threshold": asdict(self.one_threshold),
        }


@dataclass(frozen=True)
class Decision:
    """The verdict on a difference. Corrected interval and p: None for the planned one."""

    interval_corrected: tuple[float, float] | None
    p_corrected: float | None
    verdict: Verdict | None


@dataclass(frozen=True)
class AtBudget:
    """A difference at one budget; None below the cost of exit 0."""

    budget: float
    mean: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class PairedDifference:
    """The difference of two students, a − b. at_budgets: for the AUC only."""

    a: str
    b: str
    measure: Measure
    primary: bool
    seeds: list[int]
    conditional_on_teacher: bool
    found: Difference
    decision: Decision
    at_budgets: list[AtBudget] | None = None

    def to_json(self) -> Json:
        """As one object."""
        document = asdict(self)
        found, decision, budgets = (document.pop(n) for n in ("found", "decision", "at_budgets"))
        at_budgets = {} if budgets is None else {"at_budgets": budgets}
        return {**document, **found, **decision, **at_budgets}


@dataclass(frozen=True)
class OneThreshold:
    """Values of one θ for all exits, and differences in the AUC over them."""

    thresholds: list[WrittenThreshold]
    differences: list[PairedDifference]

    def to_json(self) -> Json:
        """As an object."""
        found = [one.to_json() for one in self.differences]
        return {"thresholds": self.thresholds, "differences": found}


@dataclass(frozen=True)
class Against:
    """A reference student at the cost of a rival, by seed; None if it cannot cost so little."""

    method: str
    accuracy: list[float] | None
    difference: Difference | None


@dataclass(frozen=True)
class RivalResult:
    """A network without early exits: full MACs, and accuracy on test images by seed."""

    label: str
    seeds: list[int]
    macs: float
    accuracy: list[float]
    bundles: list[str]
    against: list[Against]


@dataclass(frozen=True)
class Results:
    """The results of a comparison. settings: what differs from the recipe, by student."""

    recipe: str
    seeds: list[int]
    labels: list[str]
    settings: dict[str, Json]
    shared_teacher: str | None
    calibration_images: int
    test_images: int
    budgets: list[float]
    draws: int
    teachers: list[TeacherResult]
    students: list[StudentResult]
    summary: list[Summary]
    differences: list[PairedDifference]
    one_threshold: OneThreshold
    static_rivals: list[RivalResult]
    failed: list[Failed]

    @property
    def primary(self) -> PairedDifference | None:
        """The difference that was fixed beforehand; None if erde or kd is missing."""
        return next((one for one in self.differences if one.primary), None)

    def to_json(self) -> Json:
        """The object of `results.json`."""
        return {
            "recipe": self.recipe,
            "seeds": self.seeds,
            "methods": self.labels,
            "settings": self.settings,
            "shared_teacher": self.shared_teacher,
            "calibration_images": self.calibration_images,
            "test_images": self.test_images,
            "budgets": self.budgets,
            "draws": self.draws,
            "teachers": [one.to_json() for one in self.teachers],
            "students": [one.to_json() for one in self.students],
            "summary": [one.to_json() for one in self.summary],
            "primary": None if self.primary is None else self.primary.to_json(),
            "differences": [one.to_json() for one in self.differences],
            "one_threshold": self.one_threshold.to_json(),
            "static_rivals": [asdict(one) for one in self.static_rivals],
            "failed": [one.to_json() for one in self.failed],
        }


def written(thresholds: tuple[float, ...] | list[float]) -> list[WrittenThreshold]:
    """Thresholds in nats in their written form."""
    return [write_threshold(value) for value in thresholds]
