"""The plan of a comparison: what is trained, and in which folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.comparison.students import StudentSpec
from erde_cli.core.errors import RunError
from erde_cli.core.recipe.inputs import comparable
from erde_cli.core.recipe.loading import differences
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.comparison import REFERENCES
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.storage.json_files import (
    Json,
    not_what_erde_writes,
    read_json,
    require_format,
    write_json,
)
from erde_cli.core.storage.run_lock import LOCK

FILE = "compare.json"
STUDENT = "student.json"  # a student that a timing has chosen
FORMAT = 1
_OTHER_FOLDER = "name another folder with --out"


class _Document(BaseModel):
    """Content of `compare.json`."""

    model_config = ConfigDict(extra="forbid")

    format: int
    recipe: Json
    teacher: str | None


@dataclass(frozen=True)
class Plan:
    """Inputs of a comparison: recipe, run folder, seeds, students, teacher.

    students: without static networks. teacher: shared by all seeds; None: each seed trains one.
    static: whether static networks are trained as well.
    """

    recipe: Recipe
    run: Path
    seeds: tuple[int, ...]
    students: tuple[StudentSpec, ...]
    teacher: Bundle | None = None
    static: bool = False

    def with_student(self, student: Network) -> Plan:
        """The same comparison of another student."""

        def changed(recipe: Recipe) -> Recipe:
            return recipe.model_copy(update={"student": student})

        specs = (StudentSpec(one.name, changed(one.recipe)) for one in self.students)
        return replace(self, recipe=changed(self.recipe), students=tuple(specs))

    def seed_folder(self, seed: int) -> Path:
        """Folder of one seed."""
        return self.run / f"seed-{seed}"

    @property
    def references(self) -> list[StudentSpec]:
        """Students that the others are compared with: erde, kd, cross_entropy in this order.

        If no student is named after a method, the first one is the only reference.
        """
        named = [student for student in self.students if student.is_reference]
        return sorted(named, key=lambda one: REFERENCES.index(one.name)) or [self.students[0]]

    @property
    def static_recipe(self) -> Recipe:
        """Recipe of the static networks: that of the student `kd`, or else the comparison's."""
        recipes = (student.recipe for student in self.students if student.name == "kd")
        return next(recipes, self.recipe)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names (a, b) of students that are compared, as a − b; (`erde`, `kd`) comes first."""
        references = self.references
        others = [one for one in self.students if one not in references]
        pairs = []
        for position, b in enumerate(references):  # with those before it, and all other students
            pairs += [(a.name, b.name) for a in [*references[:position], *others]]
        return sorted(pairs, key=lambda pair: pair != ("erde", "kd"))


def claim(plan: Plan) -> None:
    """Write `compare.json`, or check that the same comparison wrote it. Students can be added.

    Raises:
        RunError: the folder is of another comparison (the message lists the differences) or
            contains other files, or its `compare.json` is not valid.
    """
    path = plan.run / FILE
    teacher = None if plan.teacher is None else plan.teacher.document.weights_digest
    document: Json = {"format": FORMAT, "recipe": _shared(plan.recipe), "teacher": teacher}
    if path.is_file():
        lines = differences(_with_newer_keys(read_claim(plan.run), plan.recipe, document), document)
        # A folder in which no seed was trained can be taken over.
        if lines and any(plan.run.glob("seed-*")):
            listed = "\n".join(f"  {line}" for line in lines)
            raise RunError(
                f"{plan.run} was made by another comparison:\n{listed}",
                hint=_OTHER_FOLDER,
                expected="the recipe and teacher of the comparison that made it",
            )
    elif plan.run.is_dir() and any(one.name not in (LOCK, STUDENT) for one in plan.run.iterdir()):
        raise RunError(
            f"{plan.run} contains files that are not part of a comparison.",
            expected=f"an empty folder, or one with the {FILE} of this comparison",
            hint=_OTHER_FOLDER,
        )
    write_json(path, document)


def read_claim(run: Path) -> Json:
    """Content of a comparison's `compare.json`.

    Raises:
        RunError: it is not what erde writes.
    """
    path = run / FILE
    content = read_json(path)
    hint = f"use the version of erde that wrote it, or {_OTHER_FOLDER}"
    require_format(path, content, FORMAT, RunError, hint)
    try:
        return _Document.model_validate(content).model_dump()
    except ValidationError as error:
        raise not_what_erde_writes(
            path, error, _OTHER_FOLDER, RunError, "what erde compare writes"
        ) from error


def _with_newer_keys(stored: Json, recipe: Recipe, document: Json) -> Json:
    """A stored document with the keys that its version of erde did not know, at their defaults."""
    chosen = recipe.model_dump(exclude_defaults=True)
    return {**stored, "recipe": _completed(stored["recipe"], document["recipe"], chosen)}


def _completed(stored: Json, keys: Json, chosen: Json) -> Json:
    """A section with those of `keys` that it lacks and that nobody has chosen another value for."""
    whole = {key: value for key, value in keys.items() if key not in chosen} | stored
    for key, value in stored.items():
        if isinstance(value, dict) and isinstance(keys.get(key), dict):
            whole[key] = _completed(value, keys[key], chosen.get(key) or {})
    return whole


def _shared(recipe: Recipe) -> Json:
    """Settings that all students share: the recipe without seed, calibration and method."""
    shared = comparable(recipe)
    del shared["seed"], shared["calibration"], shared["distillation"]["method"]
    return shared
