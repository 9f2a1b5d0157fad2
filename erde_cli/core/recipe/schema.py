"""The recipe: its sections, and the rules between them."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, model_validator

from erde_cli.core.events import Role
from erde_cli.core.recipe.sections.base import Rules, Section, broken, refuse
from erde_cli.core.recipe.sections.calibration import Calibration
from erde_cli.core.recipe.sections.comparison import Comparison
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.recipe.sections.distillation import Distillation
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.recipe.sections.training import Training, TrainingOfEach

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
    license: str | None = Field(
        None,
        min_length=1,
        max_length=LONGEST_NAME,
        description="licence of the trained weights, for the model card, as an identifier such as "
        "apache-2.0; null: not stated",
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
        for role in ROLES:
            network, size = self.network_of(role), self.image_size(role)
            if size < network.least_side:
                least = f"{network.backbone} needs images of {network.least_side} pixels or more"
                rules.append((f"{role}.backbone", f"{least}, not {size}"))
            rules += first_weights_rules(role, network, self.training_of(role))
        rules += views_rules(self.training.student, self.distillation)
        side = self.data.image_size
        rules += broken(
            (self.teacher.image_size is not None, "teacher.image_size", "is data.image_size"),
            (self.teacher.family is not None, "teacher.family", "applies only to the student"),
            (
                (self.student.image_size or 0) > side,
                "student.image_size",
                f"must be at most data.image_size = {side}",
            ),
        )
        refuse(rules)
        return self

    def image_size(self, role: Role) -> int:
        """Side of the images that a network sees, in pixels."""
        return self.network_of(role).image_size or self.data.image_size

    def network_of(self, role: Role) -> Network:
        """Section of one network."""
        return self.teacher if role == "teacher" else self.student

    def training_of(self, role: Role) -> Training:
        """Hyperparameters of one network."""
        return self.training.teacher if role == "teacher" else self.training.student

    def kept_views(self, role: Role) -> int | None:
        """Views of an image that a network is trained on in turn; None: another in every epoch."""
        training = self.training_of(role)
        if training.heads_only:
            return training.views or 1
        return self.distillation.teacher_cache.views if role == "student" else None

    def plain_view(self, role: Role) -> bool:
        """Whether a network is trained on images without augmentation."""
        return self.training_of(role).heads_only and self.kept_views(role) == 1

    def recorded(self) -> dict[str, Any]:
        """The recipe as runs and bundles store it: `comparison` decides no network."""
        return self.model_dump(exclude={"comparison"})

    @property
    def pairing(self) -> list[int]:
        """Teacher exit (from 0) for each student exit."""
        pairing = self.distillation.pairing
        return list(range(self.student.exit_count)) if pairing is None else pairing


def first_weights_rules(role: Role, network: Network, training: Training) -> Rules:
    """Broken rules between a network and the parts of it that are trained."""
    rates, key = training.stage_rates, f"training.{role}"
    needs = f"needs pretrained or weights in the section {role}"
    own = {
        "train": training.train != "all",
        "stage_rates": rates,
        "heads_first": training.heads_first,
    }
    return broken(
        *(
            (bool(value) and not network.has_weights, f"{key}.{name}", needs)
            for name, value in own.items()
        ),
        (
            rates is not None and len(rates) != network.exit_count,
            f"{key}.stage_rates",
            f"must be {network.exit_count} numbers, one per exit",
        ),
        (
            bool(training.heads_first) and network.exit_count == 1 and network.last_layer == "kept",
            f"{key}.heads_first",
            "needs new parts: a new last layer or more than one exit",
        ),
        (
            training.heads_only and network.last_layer == "kept" and network.exit_count == 1,
            f"{key}.train",
            "heads leaves nothing to train: the only exit is the last one, and it is kept",
        ),
        (
            training.first_stage >= network.exit_count,
            f"{key}.train",
            f"must begin at a stage from 1 to {network.exit_count - 1}",
        ),
    )


def views_rules(student: Training, distillation: Distillation) -> Rules:
    """Broken rule between the views whose features and whose teacher's logits are kept."""
    views, kept = distillation.teacher_cache.views, student.views or 1
    rule = f"must be null or {kept}, the views of training.student whose features are kept"
    wrong = student.heads_only and views not in (None, kept)
    return broken((wrong, "distillation.teacher_cache.views", rule))


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
