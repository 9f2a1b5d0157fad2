"""The section `distillation`: what the student learns from the teacher."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from erde_cli.core.recipe.sections.base import NonNegative, Section

Method = Literal["cross_entropy", "kd", "erde"]
EntropyOn = Literal[
    "teacher_wrong", "teacher_wrong_or_unsure", "teacher_wrong_then_right", "shuffled", "all"
]

# Short names of loss terms, in progress lines; a term without one is shown by its own.
LABELS = {"cross_entropy": "CE", "distillation": "KD", "entropy": "E"}


class Weights(Section):
    """Weights of the loss terms."""

    cross_entropy: NonNegative = Field(1.0, description="of CE, against the label")
    distillation: NonNegative = Field(1.0, description="of KD, against the teacher")
    entropy: NonNegative = Field(1.0, description="of E, where the teacher's exit is wrong")


class TeacherCache(Section):
    """The teacher's logits, kept on disk for every student of the same seed."""

    views: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="augmented views of each image: epoch e shows view e mod views, and its "
        "logits are computed once; null: another view every epoch, nothing kept",
    )


class Distillation(Section):
    """What the student learns from the teacher."""

    method: Method = Field("erde", description="cross_entropy: no teacher; kd; erde")
    temperature: float = Field(2.0, gt=0, le=100, description="of KD; E is at temperature 1")
    weights: Weights = Field(default_factory=Weights)
    form: Literal["replace", "add"] = Field(
        "replace", description="whether E takes the place of CE and KD on its images, or is added"
    )
    entropy_at_last_exit: bool = Field(False, description="use E at the last exit as well")
    entropy_on: EntropyOn = Field("teacher_wrong", description="on which images E acts")
    unsure_above: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="teacher_wrong_or_unsure: entropy of the teacher's exit, as a share of ln K, "
        "above which it is unsure",
    )
    teacher_cache: TeacherCache = Field(default_factory=TeacherCache)
    pairing: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, description="teacher exit (from 0) for each student exit; null: the same number"
    )
