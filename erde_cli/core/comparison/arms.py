"""The recipes of the students that a comparison has. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from erde_cli.core.comparison.variants import Variant
from erde_cli.core.errors import InputError
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.distillation import Method

_LONGEST = 150  # characters of a label: it names a folder


@dataclass(frozen=True)
class Arm:
    """One kind of student: its name, and the recipe that trains it, of whatever seed.

    plain: the method with the recipe's own values, without anything of a grid. name: the label in
    words, for pictures.
    """

    label: str
    method: Method
    recipe: Recipe
    plain: bool
    name: str


def arms_of(
    reference: str,
    overrides: Sequence[str],
    variants: Sequence[Variant],
    teacher: Mapping[str, Any] | None = None,
    own: Mapping[Method, Sequence[str]] | None = None,
) -> tuple[Arm, ...]:
    """The students' recipes, each once: what equals a method's plain recipe is called by it.

    Args:
        reference: path or name of a recipe.
        overrides: of all students, as `--set` takes them.
        variants: methods, and what a grid changes.
        teacher: takes the place of the recipe's teacher section.
        own: of one method alone, by method; its plain recipe has them.

    Raises:
        InputError: two of them would have one name, or the recipe asks for balanced accuracy.
        RecipeError: a recipe is wrong, with everything that is wrong with it.
    """
    found: dict[str, Arm] = {}
    for variant in variants:
        method = f"distillation.method={variant.method}"
        shared = [*overrides, method, *(own or {}).get(variant.method, ())]
        plain = load_recipe(reference, shared, teacher=teacher)
        _refuse_other_metric(plain)
        recipe = load_recipe(reference, [*shared, *variant.settings], teacher=teacher)
        label = variant.method if recipe == plain else variant.label
        if (label in found and found[label].recipe != recipe) or len(label) > _LONGEST:
            raise InputError(
                "A combination of the grid has no name of its own, or a very long one.",
                got=label,
                hint="compare fewer keys at once",
                expected="settings that are told apart by letters and digits",
            )
        name = variant.method if recipe == plain else variant.name
        found[label] = Arm(label, variant.method, recipe, recipe == plain, name)
    return tuple(found.values())


def _refuse_other_metric(recipe: Recipe) -> None:
    if recipe.calibration.metric != "accuracy":
        raise InputError(
            "A comparison is of accuracy at equal cost, and this recipe asks for another metric.",
            got=f"calibration.metric: {recipe.calibration.metric}",
            expected="calibration.metric: accuracy",
            hint="to compare by accuracy all the same, add --set calibration.metric=accuracy",
        )
