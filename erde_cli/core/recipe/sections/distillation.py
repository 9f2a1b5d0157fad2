"""The section `distillation`: what the student learns from the teacher."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from erde_cli.core.recipe.sections.base import NonNegative, Section

Method = Literal["cross_entropy", "kd", "erde"]
EntropyOn = Literal[
    "teacher_wrong", "teacher_wrong_or_unsure", "teacher_wrong_then_right", "shuffled", "all"
]

# Short names of loss terms in progress lines. Other terms appear under their full name.
LABELS = {"cross_entropy": "CE", "distillation": "KD", "entropy": "E"}


class Weights(Section):
    """Weights of the loss terms."""

    cross_entropy: NonNegative = Field(
        1.0, description="weight of CE, the cross-entropy of the label"
    )
    distillation: NonNegative = Field(1.0, description="weight of KD, distillation of the teacher")
    entropy: NonNegative = Field(1.0, description="weight of E, the entropy term")


class TeacherCache(Section):
    """Cache of the teacher's logits on disk, shared by all students of the same seed."""

    views: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="augmented views of each image: epoch e shows view e mod views, and its "
        "logits are computed once; null: a new view in every epoch, without a cache",
    )


class Distillation(Section):
    """What the student learns from the teacher."""

    method: Method = Field(
        "erde", description="cross_entropy: CE without a teacher; kd: CE and KD; erde: CE, KD and E"
    )
    temperature: float = Field(
        2.0, gt=0, le=100, description="temperature of KD; E uses temperature 1"
    )
    weights: Weights = Field(default_factory=Weights)
    form: Literal["replace", "add"] = Field(
        "replace", description="whether E replaces CE and KD on its images, or is added to them"
    )
    entropy_at_last_exit: bool = Field(False, description="use E at the last exit as well")
    entropy_on: EntropyOn = Field("teacher_wrong", description="images that E acts on")
    unsure_above: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="teacher_wrong_or_unsure: the teacher's exit is unsure if its entropy is above "
        "this share of ln K",
    )
    teacher_cache: TeacherCache = Field(default_factory=TeacherCache)
    pairing: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, description="teacher exit (from 0) for each student exit; null: the same exit"
    )
