"""The section `comparison`: which students `erde compare` trains."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from erde_cli.core.recipe.sections.base import Section, refuse

# Names of methods. A student so named is a reference: the others are compared with it, and each
# reference with those after it.
REFERENCES = ("erde", "kd", "cross_entropy")
STATIC = "static"  # not a student: plain networks without early exits, compared at their own cost
LONGEST_STUDENT = 100  # characters; the name of a student names its folder


_ALIKE = ("seed", "data", "teacher", "student", "calibration")  # of all students
_RULE = (
    "is the same for all students: they share images, teacher, starting weights and cost, and "
    "differ in distillation or training.student"
)


class _Changes(Section):
    """A part of a recipe that may differ between students."""

    @model_validator(mode="before")
    @classmethod
    def _only_what_may_differ(cls, value: Any) -> Any:
        if isinstance(value, dict):
            refuse([(key, _RULE) for key in _ALIKE if key in value and key not in cls.model_fields])
        return value


class StudentTraining(_Changes):
    """What differs in the section `training`."""

    student: dict[str, Any] = Field(
        default_factory=dict, description="keys of training.student that differ"
    )


class ComparedStudent(_Changes):
    """One student: its name, and how its recipe differs from the one that it stands in."""

    name: str = Field(
        min_length=1,
        max_length=LONGEST_STUDENT,
        pattern=r"^\w[\w.+=-]*$",
        description="name of the student and of its folder",
    )
    distillation: dict[str, Any] = Field(
        default_factory=dict, description="keys of distillation that differ"
    )
    training: StudentTraining = Field(default_factory=StudentTraining)


class Comparison(Section):
    """The students of a comparison; no network depends on this section."""

    students: list[ComparedStudent] = Field(
        [ComparedStudent(name=name) for name in REFERENCES],
        min_length=1,
        description="students of `erde compare`: a method (erde, kd, cross_entropy), `static`, or "
        "`{name: …, distillation: {…}, training: {student: {…}}}` with what differs from this "
        "recipe",
    )

    @field_validator("students", mode="before")
    @classmethod
    def _names_are_students(cls, value: Any) -> Any:
        """`erde` is short for `{name: erde}`."""
        if not isinstance(value, list):
            return value
        return [{"name": item} if isinstance(item, str) else item for item in value]
