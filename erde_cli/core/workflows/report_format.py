"""Schema of a run's `report.json`, checked before a stored report is shown again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from erde_cli.core.images.class_names import ClassName
from erde_cli.core.thresholds.written import WrittenThreshold

_Share = Annotated[float, Field(ge=0, le=1)]
_Nats = Annotated[float, Field(ge=0)]
_Macs = Annotated[float, Field(gt=0)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Exit(_Document):
    exit: Annotated[int, Field(ge=0)]
    accuracy: _Share
    exit_rate: _Share
    cumulative_macs: _Macs


class _Class(_Document):
    class_name: ClassName
    images: Annotated[int, Field(ge=0)]
    recall: _Share | None
    precision: _Share | None
    exit_rates: list[_Share] | None
    expected_macs: _Macs | None


class _EntropyGap(_Document):
    exit: Annotated[int, Field(ge=0)]
    wrong: _Nats | None
    right: _Nats | None
    gap: float | None
    share_wrong: _Share
    accuracy_wrong: _Share | None
    accuracy_right: _Share | None


class _Evaluation(_Document):
    split: str
    images: Annotated[int, Field(ge=0)]
    accuracy: _Share
    balanced_accuracy: _Share
    full_accuracy: _Share
    agreement: _Share
    expected_macs: _Macs
    full_macs: _Macs
    static_macs: _Macs
    thresholds: list[WrittenThreshold] | None
    certified: bool
    drift: JsonValue
    exits: Annotated[list[_Exit], Field(min_length=1)]
    classes: list[_Class]
    entropy_gaps: list[_EntropyGap] | None


class _Report(_Document):
    teacher: _Evaluation
    student: _Evaluation
    macs_ratio: float
    size_ratio: float
    exit_ratio: float
    accuracy_drop: float
    accuracy_drop_interval: Annotated[list[float], Field(min_length=2, max_length=2)]
    seconds: dict[str, float]
    data: JsonValue


def is_report(document: Any) -> bool:
    """Whether a document is a report that `erde run` wrote."""
    try:
        report = _Report.model_validate(document)
    except ValidationError:
        return False
    return _is_complete(report.teacher) and _is_complete(report.student)


def _is_complete(evaluation: _Evaluation) -> bool:
    """Whether there is a threshold per early exit, and figures for each class with images."""
    early, thresholds = len(evaluation.exits) - 1, evaluation.thresholds
    return (thresholds is None or len(thresholds) == early) and not any(
        row.images and None in (row.recall, row.exit_rates, row.expected_macs)
        for row in evaluation.classes
    )
