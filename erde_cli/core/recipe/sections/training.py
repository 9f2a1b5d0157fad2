"""The section `training`: hyperparameters of the teacher and of the student."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from erde_cli.core.errors import brief
from erde_cli.core.recipe.sections.base import NonNegative, Section, broken, refuse


def _are_shares(numbers: list[float]) -> bool:
    return numbers == sorted(set(numbers)) and all(0 < number < 1 for number in numbers)


def _is_weight(number: Any) -> bool:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return is_number and 0 < number <= sys.float_info.max


class Training(Section):
    """Hyperparameters of one network's training."""

    train: Literal["all", "heads"] | dict[Literal["from"], Annotated[int, Field(ge=1)]] = Field(
        "all",
        description="what is trained of a network with pretrained weights; heads: the early heads "
        "and a new last layer, on features that are computed once; {from: 2}: these, and the "
        "stages from number 2 (counted from 0)",
    )
    views: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="train: heads: number of random views of each image whose features are kept; "
        "1: the image without augmentation; null: 1",
    )
    epochs: int = Field(ge=1, le=100_000, description="passes over the train split")
    batch_size: int = Field(
        128,
        ge=2,
        le=65_536,
        description="images per step; an incomplete last batch is dropped",
    )
    learning_rate: float = Field(0.1, gt=0, description="peak learning rate")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="SGD with momentum, or AdamW")
    stage_rates: list[Annotated[float, Field(gt=0)]] | None = Field(
        None,
        description="factor of the learning rate for the pretrained tensors of each stage, such as "
        "[0.01, 0.1, 1]; null: 1 for all",
    )
    heads_first: int | None = Field(
        None,
        ge=0,
        le=100_000,
        description="epochs at the beginning in which only the early heads and a new last layer "
        "are trained; null: 0",
    )
    schedule: Literal["cosine", "one_cycle", "step"] = Field(
        "cosine",
        description="cosine: warm-up, then half a cosine; one_cycle: up, then down to 0; "
        "step: warm-up, then constant, multiplied by `decay` at each milestone",
    )
    milestones: list[float] | None = Field(
        None,
        description="step: milestones as shares of the epochs; "
        "null: [0.5, 0.75], which is epochs 100 and 150 of 200",
    )
    decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="step: factor of the learning rate at each milestone; null: 0.1",
    )
    warmup_epochs: NonNegative | None = Field(
        None,
        description="warm-up epochs; null: a fifth of the epochs for one_cycle, otherwise 1, but "
        "at most a fifth",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd: Nesterov momentum; 0: plain SGD")
    weight_decay: NonNegative = Field(
        5e-4, description="weight decay of linear layers and convolutions, without their biases"
    )
    label_smoothing: float = Field(
        0, ge=0, lt=1, description="label smoothing of the cross-entropy"
    )
    class_weights: Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0)]] = Field(
        "none",
        description="factor of an image's loss, by class; balanced: images / (classes * images of "
        "the class), counted in train; or a positive number for every class, such as "
        "{cat: 1, dog: 2.5}",
    )
    gradient_clipping: float | None = Field(
        1.0, gt=0, description="maximum norm of the gradient; null: no limit"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: a fixed rule per device, see above"
    )
    memory_format: Literal["auto", "contiguous", "channels_last"] = Field(
        "auto", description="auto: a fixed rule per device, see above"
    )
    compile: bool = Field(
        False, description="use torch.compile, which needs a C++ compiler, see above"
    )
    sync_batch_norm: bool = Field(
        False,
        description="in several processes on GPUs, norms use the mean and variance of the whole "
        "batch, not of a process's share of it (SyncBatchNorm)",
    )

    @field_validator("class_weights", mode="before")
    @classmethod
    def _weights_are_numbers(cls, value: Any) -> Any:
        if isinstance(value, dict) and value:
            wrong = [name for name, number in value.items() if not _is_weight(number)]
            if wrong:
                name = brief(repr(wrong[0]))
                refuse([("", f"the weight of {name} must be a finite number above 0")])
        elif value not in ("none", "balanced"):
            rule = "must be none, balanced, or a mapping of every class to a number above 0"
            refuse([("", rule)])
        return value

    @field_validator("train", mode="before")
    @classmethod
    def _train_names_parts(cls, value: Any) -> Any:
        stage = value["from"] if isinstance(value, dict) and [*value] == ["from"] else 0
        if value not in ("all", "heads") and not (type(stage) is int and stage > 0):
            refuse([("", "must be all, heads, or {from: STAGE} with a stage from 1, as {from: 2}")])
        return value

    @model_validator(mode="after")
    def _check(self) -> Training:
        epoch = self.epochs // 2
        share = f"{epoch / self.epochs:.3g} for epoch {epoch} of {self.epochs}"
        only_step = f"applies only to the schedule step, not to {self.schedule}"
        is_step = self.schedule == "step"
        is_adamw = self.optimizer == "adamw"
        rules = broken(
            (
                self.warmup_epochs is not None and self.warmup_epochs >= self.epochs,
                "warmup_epochs",
                f"must be below epochs = {self.epochs}",
            ),
            (
                self.heads_first is not None and self.heads_first >= self.epochs,
                "heads_first",
                f"must be below epochs = {self.epochs}",
            ),
            (self.views is not None and not self.heads_only, "views", "applies to train: heads"),
            (
                is_adamw and "learning_rate" not in self.model_fields_set,
                "learning_rate",
                "is required for adamw, such as 0.001",
            ),
            (
                is_adamw and self.momentum != type(self).model_fields["momentum"].default,
                "momentum",
                "applies to the optimizer sgd; remove it",
            ),
            (
                self.heads_only and (self.heads_first, self.stage_rates) != (None, None),
                "train",
                "heads leaves nothing to heads_first and stage_rates; remove them",
            ),
            (
                self.compile and self.sync_batch_norm,
                "sync_batch_norm",
                "cannot be combined with compile: true",
            ),
            (self.milestones is not None and not is_step, "milestones", only_step),
            (self.decay is not None and not is_step, "decay", only_step),
            (
                not _are_shares(self.milestone_shares),
                "milestones",
                f"must be increasing shares of the epochs, such as {share}",
            ),
        )
        refuse(rules)
        return self

    @property
    def heads_only(self) -> bool:
        """Whether only the heads are trained."""
        return self.train == "heads"

    @property
    def first_stage(self) -> int:
        """Number of the first stage that is trained, from 0, unless only the heads are."""
        return self.train["from"] if isinstance(self.train, dict) else 0

    @property
    def warmup(self) -> float:
        """Warm-up epochs."""
        if self.warmup_epochs is not None:
            return self.warmup_epochs
        fifth = self.epochs / 5
        return fifth if self.schedule == "one_cycle" else min(1.0, fifth)

    @property
    def milestone_shares(self) -> list[float]:
        """Milestones of the schedule step, as shares of the epochs."""
        return [0.5, 0.75] if self.milestones is None else self.milestones

    @property
    def decay_factor(self) -> float:
        """Factor of the learning rate at each milestone."""
        return 0.1 if self.decay is None else self.decay


class TrainingOfEach(Section):
    """Hyperparameters of the teacher and of the student."""

    teacher: Training
    student: Training
