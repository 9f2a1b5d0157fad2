"""The section `training`: how long and how hard teacher and student are trained."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from erde_cli.core.errors import brief
from erde_cli.core.recipe.sections.base import NonNegative, Section, broken, refuse

Precision = Literal["auto", "float32", "bfloat16", "float16"]
ClassWeights = Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0)]]


def _are_shares(numbers: list[float]) -> bool:
    return numbers == sorted(set(numbers)) and all(0 < number < 1 for number in numbers)


def _is_weight(number: Any) -> bool:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return is_number and 0 < number <= sys.float_info.max


class Training(Section):
    """How long and how hard one network is trained."""

    epochs: int = Field(ge=1, le=100_000, description="passes over the train split")
    batch_size: int = Field(
        128,
        ge=2,
        le=65_536,
        description="images per step; those that fill no last batch wait for another epoch",
    )
    learning_rate: float = Field(0.1, gt=0, description="largest learning rate")
    schedule: Literal["cosine", "one_cycle", "step"] = Field(
        "cosine",
        description="cosine: warm-up, then half a cosine; one_cycle: up, then down to 0; "
        "step: warm-up, then constant, times `decay` at each milestone",
    )
    milestones: list[float] | None = Field(
        None,
        description="step: shares of the epochs after which the rate falls; "
        "null: [0.5, 0.75], so 100 and 150 of 200",
    )
    decay: float | None = Field(
        None, gt=0, lt=1, description="step: what the rate is multiplied by; null: 0.1"
    )
    warmup_epochs: NonNegative | None = Field(
        None,
        description="epochs of rising learning rate; "
        "null: a fifth of all for one_cycle, 1 for cosine, and never above a fifth",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum; 0: plain SGD")
    weight_decay: NonNegative = Field(5e-4, description="not on BatchNorm and biases")
    label_smoothing: float = Field(0, ge=0, lt=1, description="of the cross-entropy")
    class_weights: ClassWeights = Field(
        "none",
        description="what the loss of an image is multiplied by, as its class says; balanced: "
        "images / (classes * images of the class), of train; or a number above 0 for every class, "
        "such as {cat: 1, dog: 2.5}",
    )
    gradient_clipping: float | None = Field(
        1.0, gt=0, description="largest norm of the gradient; null: no limit"
    )
    precision: Precision = Field("auto", description="auto: a fixed rule per device, see above")
    memory_format: Literal["auto", "contiguous", "channels_last"] = Field(
        "auto", description="auto: a fixed rule per device, see above"
    )
    compile: bool = Field(
        False, description="torch.compile the training steps; needs a C++ compiler, see above"
    )

    @field_validator("class_weights", mode="before")
    @classmethod
    def _weights_are_numbers(cls, value: Any) -> Any:
        if value in ("none", "balanced"):
            return value
        rule = "must be none, balanced, or a mapping of every class to a number above 0"
        if isinstance(value, dict) and value:
            wrong = [name for name, number in value.items() if not _is_weight(number)]
            if not wrong:
                return value
            rule = f"the weight of {brief(repr(wrong[0]))} must be a finite number above 0"
        raise PydanticCustomError("rule", "{text}", {"text": rule})

    @model_validator(mode="after")
    def _check(self) -> Training:
        stepped = self.schedule == "step"
        points = self.milestones
        refuse(
            broken(
                (
                    self.warmup_epochs is not None and self.warmup_epochs >= self.epochs,
                    "warmup_epochs",
                    f"must be below epochs = {self.epochs}",
                ),
                (
                    points is not None and not stepped,
                    "milestones",
                    f"only the schedule step has them, not {self.schedule}",
                ),
                (
                    self.decay is not None and not stepped,
                    "decay",
                    f"only the schedule step has it, not {self.schedule}",
                ),
                (points is not None and not _are_shares(points), "milestones", self._share_rule()),
            )
        )
        return self

    def _share_rule(self) -> str:
        example = self.epochs // 2
        share = f"{example / self.epochs:.3g}"
        return f"must be rising shares of the epochs: {share} for epoch {example} of {self.epochs}"

    @property
    def warmup(self) -> float:
        """Epochs of rising learning rate."""
        if self.warmup_epochs is not None:
            return self.warmup_epochs
        fifth = self.epochs / 5
        return fifth if self.schedule == "one_cycle" else min(1.0, fifth)

    @property
    def falls(self) -> list[float]:
        """Shares of the training after which a stepped learning rate falls."""
        return [0.5, 0.75] if self.milestones is None else self.milestones

    @property
    def fall(self) -> float:
        """What a stepped learning rate is multiplied by each time."""
        return 0.1 if self.decay is None else self.decay


class TrainingOfEach(Section):
    """Training of the teacher and of the student."""

    teacher: Training
    student: Training
