"""The recipe of each student of a comparison, checked as strictly as any recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from erde_cli.core.errors import Problem, RecipeError
from erde_cli.core.recipe.problems import problems_of
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.base import Section
from erde_cli.core.recipe.sections.comparison import (
    REFERENCES,
    STATIC,
    ComparedStudent,
    Comparison,
)

_SECTION = "comparison.students"
IGNORED_KEYS: dict[str, tuple[str, ...]] = {  # by method: keys, or prefixes of keys
    "kd": (
        "distillation.weights.entropy", "distillation.form", "distillation.entropy_on",
        "distillation.entropy_at_last_exit", "distillation.unsure_above",
    ),
    "cross_entropy": ("distillation.",),
}  # fmt: skip
_TAKEN = ("teacher", "teacher.safetensors", "logs", "checkpoints")  # in the folder of a seed
_METHOD, _CACHE = "distillation.method", "distillation.teacher_cache"


def student_recipes(recipe: Recipe, file: str) -> dict[str, Recipe]:
    """Recipe of each listed student by name, in the listed order, without `static`.

    A student named after a method (erde, kd, cross_entropy) is trained with that method.

    Args:
        recipe: the recipe with the section `comparison`.
        file: file of the recipe, as error messages name it.

    Raises:
        RecipeError: the section has problems; the error lists all of them.
    """
    problems = _bad_names(recipe.comparison.students, file)
    base = recipe.model_copy(update={"comparison": Comparison()})
    recipes: dict[str, Recipe] = {}
    names: dict[str, str] = {}  # name of a student by its recipe as JSON
    for student in recipe.comparison.students:
        if student.name == STATIC:
            continue
        changes = _changes(student)
        method = changes["distillation"].get("method", recipe.distillation.method)
        own_problems = _bad_changes(student, str(method), _dotted(changes), file)
        try:
            student_recipe = Recipe.model_validate(_changed(base, changes))
        except ValidationError as error:
            own_problems += problems_of(error, file, {})
        else:
            twin = names.setdefault(student_recipe.model_dump_json(), student.name)
            if twin != student.name and _has_changes(student):
                own_problems.append(Problem(file, "", "", f"trains the same network as {twin}"))
            recipes[student.name] = student_recipe
        section = f"{_SECTION}.{student.name}"
        problems += [replace(one, path=f"{section}.{one.path}".rstrip(".")) for one in own_problems]
    if problems:
        hint = "docs/recipes.md lists the keys; docs/compare.md has examples"
        raise RecipeError(problems, hint=hint)
    return recipes


def _changes(student: ComparedStudent) -> dict[str, Any]:
    """A student's changes to the recipe, nested by key. A method as name sets the method."""
    named = {"method": student.name} if student.name in REFERENCES else {}
    return {
        "distillation": {**named, **student.distillation},
        "training": {"student": student.training.student},
    }


def _changed(section: Section, changes: dict[str, Any]) -> dict[str, Any]:
    """Dump a section with changes. Subsections are merged; other dict values are replaced."""
    document = section.model_dump()
    for key, value in changes.items():
        inner = getattr(section, key, None)
        is_section = isinstance(inner, Section) and isinstance(value, dict)
        document[key] = _changed(inner, value) if is_section else value  # type: ignore[arg-type]
    return document


def _dotted(changes: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted path of every changed key, such as `distillation.weights.entropy`."""
    keys = []
    for key, value in changes.items():
        inner = _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else []
        keys += inner or [f"{prefix}{key}"]
    return keys


def _bad_names(students: list[ComparedStudent], file: str) -> list[Problem]:
    """Problems of students' names: taken, reserved for another folder, or without meaning."""
    names: set[str] = set()  # case-folded, because some file systems ignore case
    problems = []
    for student in students:
        rule = ""
        if student.name.casefold() in names:
            rule = "two students have this name"
        elif student.name.casefold() in _TAKEN or student.name.casefold().startswith(f"{STATIC}-"):
            rule = "is reserved for another file or folder of the comparison"
        elif student.name == STATIC and _has_changes(student):
            rule = "takes no keys: static networks are always trained with kd"
        elif student.name == STATIC and len(students) == 1:
            rule = "needs at least one other student to be compared with"
        elif student.name not in (*REFERENCES, STATIC) and not _has_changes(student):
            rule = f"is not a method ({', '.join(REFERENCES)}, {STATIC}) and changes nothing"
        if rule:
            problems.append(Problem(file, f"{_SECTION}.{student.name}", "", rule))
        names.add(student.name.casefold())
    return problems


def _has_changes(student: ComparedStudent) -> bool:
    return bool(student.distillation or student.training.student)


def _bad_changes(
    student: ComparedStudent, method: str, keys: list[str], file: str
) -> list[Problem]:
    """Problems of a student's keys: shared by all students, or ignored by its method."""
    problems = []
    for key in keys:
        rule = ""
        if key.startswith(_CACHE):
            rule = "must be the same for all students: they train on the same augmented images"
        elif key == _METHOD and student.name in REFERENCES and method != student.name:
            rule = f"must be {student.name}, like the name of the student"
        elif key != _METHOD and key.startswith(IGNORED_KEYS.get(method, ())):
            rule = f"the method {method} ignores this key: leave it out"
        if rule:
            problems.append(Problem(file, key, "", rule))
    return problems
