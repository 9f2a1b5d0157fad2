"""The section `calibration`: the target that thresholds are chosen for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from erde_cli.core.errors import InputError
from erde_cli.core.recipe.sections.base import Section
from erde_cli.core.thresholds import read_threshold

TARGETS = ("threshold", "max_drop", "max_macs")


class Calibration(Section):
    """The target that thresholds are chosen for: exactly one of the three."""

    threshold: float | Literal["always", "never"] | None = Field(
        None, description="one θ for all early exits, in nats"
    )
    max_drop: float | None = Field(
        None, ge=0, le=100, description="accuracy points below the model's own last exit"
    )
    max_macs: float | None = Field(None, gt=0, le=1, description="share of the model's full MACs")

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
        if len(self.model_dump(exclude_none=True)) != 1:
            rule = f"needs exactly one of {', '.join(TARGETS)}"
            raise PydanticCustomError("rule", "{rule}", {"rule": rule})
        return self

    @property
    def target(self) -> tuple[str, float | str]:
        """Name and value of the one target that is set."""
        given = self.model_dump(exclude_none=True)
        return next(iter(given.items()))
