"""What `report.json` of a run holds, validated when it is read back to be shown again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from erde_cli.core.thresholds import WrittenThreshold

_Share = Annotated[float, Field(ge=0, le=1)]
_Macs = Annotated[float, Field(gt=0)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Exit(_Document):
    exit: Annotated[int, Field(ge=0)]
    accuracy: _Share
    exit_rate: _Share
    cumulative_macs: _Macs


class _Evaluation(_Document):
    split: str
    images: Annotated[int, Field(ge=0)]
    accuracy: _Share
    full_accuracy: _Share
    agreement: _Share
    expected_macs: _Macs
    full_macs: _Macs
    static_macs: _Macs
    thresholds: list[WrittenThreshold] | None
    certified: bool
    drift: JsonValue
    exits: Annotated[list[_Exit], Field(min_length=1)]


class _Report(_Document):
    teacher: _Evaluation
    student: _Evaluation
    macs_ratio: float
    size_ratio: float
    exit_ratio: float
    accuracy_drop: float
    accuracy_drop_interval: Annotated[list[float], Field(min_length=2, max_length=2)]
    seconds: dict[str, float]


def is_report(document: Any) -> bool:
    """Whether a document is what `erde run` writes."""
    try:
        report = _Report.model_validate(document)
    except ValidationError:
        return False
    return all(
        one.thresholds is None or len(one.thresholds) == len(one.exits) - 1
        for one in (report.teacher, report.student)
    )
