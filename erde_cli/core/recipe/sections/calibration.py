"""The section `calibration`: the target that thresholds must reach."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from erde_cli.core.errors import InputError
from erde_cli.core.recipe.sections.base import Section, refuse
from erde_cli.core.thresholds.target import Metric, Risk
from erde_cli.core.thresholds.targets import TARGETS
from erde_cli.core.thresholds.written import read_threshold

OF_RISK = ("risk", "confidence")


class Calibration(Section):
    """The target that thresholds must reach: exactly one of the first six keys."""

    threshold: float | Literal["always", "never"] | None = Field(
        None, description="one θ for all early exits, in nats"
    )
    max_drop: float | None = Field(
        None, ge=0, le=100, description="largest drop of accuracy below the last exit, in points"
    )
    min_accuracy: float | None = Field(None, gt=0, le=1, description="least accuracy, as a share")
    max_macs: float | None = Field(None, gt=0, le=1, description="largest share of the full MACs")
    max_latency: float | None = Field(
        None, gt=0, description="largest latency in ms, of single images on the calibrating machine"
    )
    max_risk: float | None = Field(
        None, gt=0, lt=1, description="guaranteed upper bound of `risk`, as a share of images"
    )
    risk: Risk | None = Field(
        None,
        description="risk of `max_risk`; disagreement: the answer differs from the last exit's; "
        "accuracy-gap: more wrong answers than the last exit; null: disagreement",
    )
    confidence: float | None = Field(None, ge=0.5, lt=1, description="of `max_risk`; null: 0.9")
    temperature: bool = Field(
        False, description="fit one temperature per exit first (temperature scaling)"
    )
    metric: Metric = Field(
        "accuracy",
        description="accuracy that `max_drop` and `min_accuracy` keep, and that `max_macs` and "
        "`max_latency` maximise; balanced_accuracy: mean accuracy over the classes",
    )
    tuned_on: Literal["half A", "all"] = Field(
        "half A",
        description="calibration images that the values of this recipe were chosen with; after "
        "`all`, `max_risk` can guarantee nothing on them and is refused",
    )

    @field_validator("threshold", mode="before")
    @classmethod
    def _threshold_is_one(cls, value: Any) -> Any:
        try:
            if value is not None:
                read_threshold(value)
        except InputError as error:
            refuse([("", f"must be {error.expected}")])
        return value

    @model_validator(mode="after")
    def _one_target(self) -> Calibration:
        rule = None
        if len(self.model_dump(include=set(TARGETS), exclude_none=True)) != 1:
            rule = f"needs exactly one of {', '.join(TARGETS)}"
        elif self.max_risk is None and (self.risk or self.confidence):
            rule = "risk and confidence apply only to max_risk, which is not set"
        elif self.max_risk is not None and self.tuned_on == "all":
            rule = "max_risk can guarantee nothing if tuned_on is all"
        elif self.metric == "balanced_accuracy" and not TARGETS[self.target[0]].has_metric:
            others = ", ".join(name for name, target in TARGETS.items() if target.has_metric)
            rule = f"{self.target[0]} does not support balanced_accuracy, only {others} do"
        refuse([("", rule)] if rule else [])
        return self

    @property
    def target(self) -> tuple[str, float | str]:
        """Name and value of the one target that is set."""
        given = self.model_dump(include=set(TARGETS), exclude_none=True)
        return next(iter(given.items()))
