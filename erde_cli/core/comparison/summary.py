"""The results of one student over its seeds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from erde_cli.core.storage.json_files import Json


@dataclass(frozen=True)
class Spread:
    """Mean, standard deviation (None for one seed) and range over seeds."""

    mean: float
    sd: float | None
    low: float
    high: float


@dataclass(frozen=True)
class ExitSummary:
    """`ExitQuality` over seeds."""

    exit: int
    accuracy: Spread | None
    auroc_error: Spread | None
    auroc_repairable: Spread | None
    accuracy_certain: Spread | None
    ece: Spread | None
    nll: Spread | None


@dataclass(frozen=True)
class SavingSummary:
    """`Saving` over seeds; `reached` of `seeds` reached the target."""

    points: float
    seeds: int
    reached: int
    accuracy: Spread | None
    expected_macs: Spread | None
    macs_ratio: Spread | None
    size_ratio: Spread | None
    exit_ratio: Spread | None


@dataclass(frozen=True)
class GapSummary:
    """`EntropyGap` of an early exit over the seeds that have a teacher."""

    exit: int
    seeds: int
    wrong: Spread | None
    right: Spread | None
    gap: Spread | None
    share_wrong: Spread | None
    accuracy_wrong: Spread | None
    accuracy_right: Spread | None


@dataclass(frozen=True)
class SweepSummary:
    """One θ for all exits over seeds."""

    auc: Spread | None
    cost: list[Spread | None]
    accuracy: list[Spread | None]


@dataclass(frozen=True)
class Summary:
    """One student over its seeds."""

    label: str
    seeds: int
    auc: Spread | None
    at_budgets: list[Spread | None]
    exits: list[ExitSummary]
    savings: list[SavingSummary]
    entropy_gaps: list[GapSummary]
    one_threshold: SweepSummary

    def to_json(self) -> Json:
        """As an object."""
        return labelled(self)


def labelled(one: Any) -> Json:
    """The fields of a dataclass in their order, with the label as "method"."""
    return {"method" if name == "label" else name: value for name, value in asdict(one).items()}
