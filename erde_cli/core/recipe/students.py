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
NOT_READ: dict[str, tuple[str, ...]] = {  # keys, or how they begin, that a method ignores
    "kd": (
        "distillation.weights.entropy", "distillation.form", "distillation.entropy_on",
        "distillation.entropy_at_last_exit", "distillation.unsure_above",
    ),
    "cross_entropy": ("distillation.",),
}  # fmt: skip
_TAKEN = ("teacher", "teacher.safetensors", "logs", "checkpoints")  # in the folder of a seed
_METHOD, _CACHE = "distillation.method", "distillation.teacher_cache"


def student_recipes(recipe: Recipe, file: str) -> dict[str, Recipe]:
    """Recipes of the students of a comparison by name, in their order, without static rivals.

    A student named after a method (erde, kd, cross_entropy) learns by it.

    Args:
        recipe: the recipe with the section `comparison`.
        file: what messages name.

    Raises:
        RecipeError: everything that is wrong with the section, at once.
    """
    problems = _bad_names(recipe.comparison.students, file)
    base = recipe.model_copy(update={"comparison": Comparison()})
    recipes: dict[str, Recipe] = {}
    names: dict[str, str] = {}  # of the students by their recipes
    for student in recipe.comparison.students:
        if student.name == STATIC:
            continue
        changes = _changes(student)
        method = changes["distillation"].get("method", recipe.distillation.method)
        found = _unequal(student, str(method), _dotted(changes), file)
        try:
            made = Recipe.model_validate(_changed(base, changes))
        except ValidationError as error:
            found += problems_of(error, file, {})
        else:
            same = names.setdefault(made.model_dump_json(), student.name)
            if same != student.name and _differs(student):
                found.append(Problem(file, "", "", f"trains the same network as {same}"))
            recipes[student.name] = made
        here = f"{_SECTION}.{student.name}"
        problems += [replace(one, path=f"{here}.{one.path}".rstrip(".")) for one in found]
    if problems:
        hint = "see which keys there are: docs/recipes.md, and examples: docs/compare.md"
        raise RecipeError(problems, hint=hint)
    return recipes


def _changes(student: ComparedStudent) -> dict[str, Any]:
    """What a student changes, as a part of a recipe; its name is its method if it can be."""
    named = {"method": student.name} if student.name in REFERENCES else {}
    return {
        "distillation": {**named, **student.distillation},
        "training": {"student": student.training.student},
    }


def _changed(section: Section, changes: dict[str, Any]) -> dict[str, Any]:
    """A section as a mapping, with changes; mappings that are values are replaced, not merged."""
    document = section.model_dump()
    for key, value in changes.items():
        inner = getattr(section, key, None)
        merged = isinstance(inner, Section) and isinstance(value, dict)
        document[key] = _changed(inner, value) if merged else value  # type: ignore[arg-type]
    return document


def _dotted(changes: dict[str, Any], prefix: str = "") -> list[str]:
    """Every key of changes, such as `distillation.weights.entropy`."""
    keys = []
    for key, value in changes.items():
        inner = _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else []
        keys += inner or [f"{prefix}{key}"]
    return keys


def _bad_names(students: list[ComparedStudent], file: str) -> list[Problem]:
    """Names that two students share, or that the folder of a comparison has other uses for."""
    names: set[str] = set()  # folders differ in more than upper and lower case
    problems = []
    for student in students:
        rule = ""
        if student.name.casefold() in names:
            rule = "two students have this name"
        elif student.name.casefold() in _TAKEN or student.name.casefold().startswith(f"{STATIC}-"):
            rule = "is the name of another folder of a comparison"
        elif student.name == STATIC and _differs(student):
            rule = "has no keys: static rivals learn by kd"
        elif student.name == STATIC and len(students) == 1:
            rule = "needs a student to be compared with"
        elif student.name not in (*REFERENCES, STATIC) and not _differs(student):
            rule = f"is not a method ({', '.join(REFERENCES)}, {STATIC}) and changes nothing"
        if rule:
            problems.append(Problem(file, f"{_SECTION}.{student.name}", "", rule))
        names.add(student.name.casefold())
    return problems


def _differs(student: ComparedStudent) -> bool:
    return bool(student.distillation or student.training.student)


def _unequal(student: ComparedStudent, method: str, keys: list[str], file: str) -> list[Problem]:
    """Changes that would make students incomparable, and those that change nothing."""
    problems = []
    for key in keys:
        rule = ""
        if key.startswith(_CACHE):
            rule = "is the same for all students, so that they see the same views"
        elif key == _METHOD and student.name in REFERENCES and method != student.name:
            rule = f"must be {student.name}, as the name says"
        elif key != _METHOD and key.startswith(NOT_READ.get(method, ())):
            rule = f"the method {method} does not read it: leave it out"
        if rule:
            problems.append(Problem(file, key, "", rule))
    return problems
