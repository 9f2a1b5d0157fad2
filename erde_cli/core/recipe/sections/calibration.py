"""The section `calibration`: the target that thresholds are chosen for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from erde_cli.core.errors import InputError
from erde_cli.core.recipe.sections.base import Section
from erde_cli.core.thresholds.targets import TARGETS
from erde_cli.core.thresholds.written import read_threshold

OF_RISK = ("risk", "confidence")


class Calibration(Section):
    """The target that thresholds are chosen for: exactly one of the first six."""

    threshold: float | Literal["always", "never"] | None = Field(
        None, description="one θ for all early exits, in nats"
    )
    max_drop: float | None = Field(
        None, ge=0, le=100, description="accuracy points below the model's own last exit"
    )
    min_accuracy: float | None = Field(None, gt=0, le=1, description="share of right answers")
    max_macs: float | None = Field(None, gt=0, le=1, description="share of the model's full MACs")
    max_latency: float | None = Field(
        None, gt=0, description="ms per image, measured one by one on the machine that calibrates"
    )
    max_risk: float | None = Field(
        None, gt=0, lt=1, description="share of images that `risk` may hit, promised"
    )
    risk: Literal["disagreement", "accuracy-gap"] | None = Field(
        None,
        description="of `max_risk`: another answer than the last exit's, or more wrong answers "
        "than the last exit's; `disagreement` if null",
    )
    confidence: float | None = Field(None, ge=0.5, lt=1, description="of `max_risk`; 0.9 if null")
    temperature: bool = Field(
        False, description="fit one temperature per exit first (temperature scaling)"
    )
    metric: Literal["accuracy", "balanced_accuracy"] = Field(
        "accuracy",
        description="what `max_drop` and `min_accuracy` keep and `max_macs` and `max_latency` "
        "maximise; balanced_accuracy: the mean over the classes of the share answered right",
    )
    tuned_on: Literal["half A", "all"] = Field(
        "half A",
        description="calibration images that this recipe's values were chosen with; after `all`, "
        "`max_risk` promises nothing on them and is refused",
    )

    @field_validator("threshold", mode="before")
    @classmethod
    def _threshold_is_one(cls, value: Any) -> Any:
        try:
            if value is not None:
                read_threshold(value)
        except InputError as error:
            rule = f"must be {error.expected}"
            raise PydanticCustomError("rule", "{rule}", {"rule": rule}) from error
        return value

    @model_validator(mode="after")
    def _one_target(self) -> Calibration:
        rule = None
        if len(self.model_dump(include=set(TARGETS), exclude_none=True)) != 1:
            rule = f"needs exactly one of {', '.join(TARGETS)}"
        elif self.max_risk is None and (self.risk or self.confidence):
            rule = "risk and confidence belong to max_risk, which is not set"
        elif self.max_risk is not None and self.tuned_on == "all":
            rule = "max_risk promises nothing where tuned_on is all"
        elif self.metric == "balanced_accuracy" and not TARGETS[self.target[0]].has_metric:
            others = [name for name, one in TARGETS.items() if one.has_metric]
            rule = f"{self.target[0]} has no metric; balanced_accuracy is for {', '.join(others)}"
        if rule:
            raise PydanticCustomError("rule", "{rule}", {"rule": rule})
        return self

    @property
    def target(self) -> tuple[str, float | str]:
        """Name and value of the one target that is set."""
        given = self.model_dump(include=set(TARGETS), exclude_none=True)
        return next(iter(given.items()))
