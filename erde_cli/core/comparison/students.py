"""The students of a comparison: names, methods, recipes. Never imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from erde_cli.core.errors import InputError
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.comparison import REFERENCES, STATIC, Comparison
from erde_cli.core.recipe.sections.distillation import Method
from erde_cli.core.recipe.students import student_recipes
from erde_cli.core.storage.json_files import Json


@dataclass(frozen=True)
class StudentSpec:
    """One student of a comparison: its name, and the recipe that trains it with any seed."""

    name: str
    recipe: Recipe

    @property
    def method(self) -> Method:
        """What it learns by."""
        return self.recipe.distillation.method

    @property
    def is_reference(self) -> bool:
        """Whether it is named after a method, so that the others are compared with it."""
        return self.name in REFERENCES


def with_methods(recipe: Recipe, methods: Sequence[str]) -> Recipe:
    """The recipe with these methods as the students, whatever its section `comparison` lists.

    Raises:
        InputError: one is unknown or named twice, or there is only `static`.
    """
    known = {*REFERENCES, STATIC}
    if len(set(methods)) < len(methods) or not set(methods) <= known or [*methods] == [STATIC]:
        raise InputError(
            "--methods takes methods, each once, with commas between them.",
            got=f"--methods {','.join(methods)}",
            expected=f"some of {', '.join(REFERENCES)}, and {STATIC} next to them",
            hint="type for instance --methods erde,kd; other students are listed in the recipe, "
            "under comparison.students",
        )
    students = Comparison.model_validate({"students": [*methods]})
    return recipe.model_copy(update={"comparison": students})


def student_specs(recipe: Recipe, file: str) -> tuple[StudentSpec, ...]:
    """The students that the recipe lists, without static rivals.

    Args:
        recipe: the recipe.
        file: where the list of students stands, for messages.

    Raises:
        InputError: the recipe asks for balanced accuracy.
        RecipeError: a student's recipe is wrong, with everything that is wrong with any.
    """
    if recipe.calibration.metric != "accuracy":
        raise InputError(
            "A comparison measures accuracy at equal cost; this recipe asks for another metric.",
            got=f"calibration.metric: {recipe.calibration.metric}",
            expected="calibration.metric: accuracy",
            hint="to compare by accuracy, add --set calibration.metric=accuracy",
        )
    recipes = student_recipes(recipe, file)
    return tuple(StudentSpec(name, one) for name, one in recipes.items())


def has_static_rivals(recipe: Recipe) -> bool:
    """Whether the recipe lists `static`."""
    return any(student.name == STATIC for student in recipe.comparison.students)


def differing_settings(recipe: Recipe) -> dict[str, Json]:
    """What the recipe writes for each student that differs in more than its method, by name."""
    listed = (student.model_dump(exclude_defaults=True) for student in recipe.comparison.students)
    return {one.pop("name"): one for one in listed if len(one) > 1}
