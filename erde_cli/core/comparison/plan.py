"""What a comparison trains, and the folder it keeps it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.comparison.arms import Arm
from erde_cli.core.errors import RunError
from erde_cli.core.recipe.inputs import WHEREABOUTS, as_meant, decisive
from erde_cli.core.recipe.loading import differences
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.distillation import Method
from erde_cli.core.storage.json_files import Json, read_json, require_format, write_json
from erde_cli.core.storage.run_lock import LOCK

FILE = "compare.json"
FORMAT = 1


class _Claim(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT  # the first ones did not say it
    recipe: Json
    teacher: str | None


@dataclass(frozen=True)
class Plan:
    """All that a comparison needs; `teacher` is the one that all seeds share, if they do.

    static: whether static rivals are trained as well. own: settings of one method alone.
    """

    recipe: Recipe
    run: Path
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    teacher: Bundle | None = None
    static: bool = False
    own: Mapping[Method, Sequence[str]] = field(default_factory=dict)

    def of_seed(self, seed: int) -> Path:
        """Folder of one seed."""
        return self.run / f"seed-{seed}"

    @property
    def of_kd(self) -> Recipe:
        """The recipe of plain `kd`, its own settings included, where it is compared."""
        found = (arm.recipe for arm in self.arms if arm.plain and arm.method == "kd")
        return next(found, self.recipe)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Labels (a, b) that are compared, as a − b: with each plain method, in a fixed order.

        Where a grid leaves no plain one, with the first.
        """
        found = []
        for b in [arm for arm in self.arms if arm.plain] or self.arms[:1]:
            for a in self.arms:
                later = a.plain and self.arms.index(a) >= self.arms.index(b)
                if a is not b and not later:
                    found.append((a.label, b.label))
        return sorted(found, key=lambda pair: pair != ("erde", "kd"))


def claim(plan: Plan) -> None:
    """Take the folder, or see that the same comparison made it; other students may join.

    Raises:
        RunError: it belongs to another recipe or teacher; the differences are named.
    """
    path = plan.run / FILE
    teacher = None if plan.teacher is None else plan.teacher.document.weights_digest
    document: Json = {"format": FORMAT, "recipe": _shared(plan.recipe), "teacher": teacher}
    if path.is_file():
        try:
            found = _Claim.model_validate(read_json(path)).model_dump()
        except ValidationError as error:
            raise RunError(
                f"{path} is not what erde writes.",
                hint="name another folder with --out",
                expected="what erde compare writes",
            ) from error
        require_format(
            path,
            found["format"],
            FORMAT,
            RunError,
            "use the version of erde that wrote it, or name another folder with --out",
        )
        lines = differences(_comparable(found), _comparable(document))
        if lines and any(plan.run.glob("seed-*")):
            listed = "\n".join(f"  {line}" for line in lines)
            raise RunError(
                f"{plan.run} was made by another comparison:\n{listed}",
                hint="name another folder with --out",
                expected="the comparison that made it",
            )
    elif plan.run.is_dir() and any(one.name != LOCK for one in plan.run.iterdir()):
        raise RunError(
            f"{plan.run} holds other things than a comparison.",
            expected=f"nothing, or the {FILE} of this comparison",
            hint="name another folder with --out",
        )
    write_json(path, document)


def _comparable(claimed: Json) -> Json:
    return {**claimed, "recipe": as_meant(decisive(claimed["recipe"]))}


def _shared(recipe: Recipe) -> Json:
    """What all students of a comparison have in common; thresholds are its own affair."""
    return recipe.model_dump(
        exclude={
            "name": True, "seed": True, "calibration": True,
            "data": set(WHEREABOUTS), "distillation": {"method"},
        }
    )  # fmt: skip
