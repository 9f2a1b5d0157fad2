"""The recipe: its sections, and the rules between them."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, model_validator

from erde_cli.core.events import Role
from erde_cli.core.recipe.sections.base import Rules, Section, refuse
from erde_cli.core.recipe.sections.calibration import Calibration
from erde_cli.core.recipe.sections.comparison import Comparison
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.recipe.sections.distillation import Distillation
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.recipe.sections.training import TrainingOfEach

NAME = re.compile(r"^[\w][\w.-]*$")  # of a run; it names a folder
LONGEST_NAME = 100  # characters
ROLES: tuple[Role, ...] = ("teacher", "student")


class Recipe(Section):
    """Everything a run or a comparison depends on."""

    name: str = Field(
        min_length=1,
        max_length=LONGEST_NAME,
        pattern=NAME.pattern,
        description="name of the run; default: the name of the file",
    )
    seed: int = Field(0, ge=0, le=2**62, description="seeds weights, order, augmentation, dropout")
    data: Data
    teacher: Network
    student: Network
    distillation: Distillation = Field(default_factory=Distillation)
    training: TrainingOfEach
    calibration: Calibration = Field(default_factory=lambda: Calibration(max_drop=1.0))
    comparison: Comparison = Field(default_factory=Comparison)

    @model_validator(mode="after")
    def _check_sections_together(self) -> Recipe:
        rules = pairing_rules(self.teacher, self.student, self.distillation)
        for role, network in (("teacher", self.teacher), ("student", self.student)):
            if self.data.image_size < network.least_side:
                least = f"{network.backbone} needs images of {network.least_side} pixels or more"
                rules.append((f"{role}.backbone", f"{least}, not {self.data.image_size}"))
        refuse(rules)
        return self

    def recorded(self) -> dict[str, Any]:
        """The recipe as runs and bundles store it: `comparison` decides no network."""
        return self.model_dump(exclude={"comparison"})

    @property
    def pairing(self) -> list[int]:
        """Teacher exit (from 0) for each student exit."""
        pairing = self.distillation.pairing
        return list(range(self.student.exit_count)) if pairing is None else pairing


def pairing_rules(teacher: Network, student: Network, distillation: Distillation) -> Rules:
    """Broken rules between teacher, student and distillation."""
    pairing = distillation.pairing
    if distillation.method == "cross_entropy":
        return []
    teacher_exits, exits = teacher.exit_count, student.exit_count
    if pairing is None and teacher_exits != exits:
        rule = (
            f"the teacher has {teacher_exits} exits and the student {exits}: "
            f"name a teacher exit for each, such as {even_pairing(exits, teacher_exits)}"
        )
        return [("distillation.pairing", rule)]
    if pairing is not None and (len(pairing) != exits or max(pairing) >= teacher_exits):
        return [("distillation.pairing", f"must be {exits} numbers from 0 to {teacher_exits - 1}")]
    return []


def even_pairing(student: int, teacher: int) -> list[int]:
    """Teacher exit (from 0) for each student exit, paired from the last one backwards."""
    return [max(0, teacher - student + exit_) for exit_ in range(student)]
