"""What a comparison trains, and the folder it keeps it in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.comparison.students import StudentSpec
from erde_cli.core.errors import RunError
from erde_cli.core.recipe.inputs import comparable
from erde_cli.core.recipe.loading import differences
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.comparison import REFERENCES
from erde_cli.core.storage.json_files import Json, read_json, require_format, write_json
from erde_cli.core.storage.run_lock import LOCK

FILE = "compare.json"
FORMAT = 1


class _Claim(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: int
    recipe: Json
    teacher: str | None


@dataclass(frozen=True)
class Plan:
    """All that a comparison needs.

    students: without static rivals. teacher: the one that all seeds share; None if each seed
    trains its own. static: whether static rivals are trained as well.
    """

    recipe: Recipe
    run: Path
    seeds: tuple[int, ...]
    students: tuple[StudentSpec, ...]
    teacher: Bundle | None = None
    static: bool = False

    def of_seed(self, seed: int) -> Path:
        """Folder of one seed."""
        return self.run / f"seed-{seed}"

    @property
    def references(self) -> list[StudentSpec]:
        """Students that the others are compared with: erde, kd, cross_entropy in this order.

        The first student where none is named after a method.
        """
        named = [student for student in self.students if student.is_reference]
        return sorted(named, key=lambda one: REFERENCES.index(one.name)) or [self.students[0]]

    @property
    def recipe_of_rivals(self) -> Recipe:
        """The recipe that static rivals follow: that of the student `kd`, or the plain one."""
        found = (student.recipe for student in self.students if student.name == "kd")
        return next(found, self.recipe)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names (a, b) that are compared, as a − b; `erde` − `kd` first."""
        references = self.references
        pairs = []
        for place, b in enumerate(references):
            others = [one for one in self.students if one not in references]
            pairs += [(a.name, b.name) for a in [*references[:place], *others]]
        return sorted(pairs, key=lambda pair: pair != ("erde", "kd"))


def claim(plan: Plan) -> None:
    """Take the folder, or check that the same comparison made it; other students may join.

    Raises:
        RunError: it belongs to another recipe or teacher; the differences are named.
    """
    path = plan.run / FILE
    teacher = None if plan.teacher is None else plan.teacher.document.weights_digest
    document: Json = {"format": FORMAT, "recipe": _shared(plan.recipe), "teacher": teacher}
    if path.is_file():
        lines = differences(_read(path), document)
        if lines and any(plan.run.glob("seed-*")):
            listed = "\n".join(f"  {line}" for line in lines)
            raise RunError(
                f"{plan.run} was made by another comparison:\n{listed}",
                hint="name another folder with --out",
                expected="the comparison that made it",
            )
    elif plan.run.is_dir() and any(one.name != LOCK for one in plan.run.iterdir()):
        raise RunError(
            f"{plan.run} contains other files than a comparison.",
            expected=f"an empty folder, or one with the {FILE} of this comparison",
            hint="name another folder with --out",
        )
    write_json(path, document)


def _read(path: Path) -> Json:
    content = read_json(path)
    try:
        found = _Claim.model_validate(content).model_dump()
    except ValidationError as error:
        raise RunError(
            f"{path} is not what erde writes.",
            hint="name another folder with --out",
            expected="what erde compare writes",
        ) from error
    hint = "use the version of erde that wrote it, or name another folder with --out"
    require_format(path, found["format"], FORMAT, RunError, hint)
    return found


def _shared(recipe: Recipe) -> Json:
    """What all students have in common: not seed, thresholds or the method."""
    shared = comparable(recipe)
    del shared["seed"], shared["calibration"], shared["distillation"]["method"]
    return shared
