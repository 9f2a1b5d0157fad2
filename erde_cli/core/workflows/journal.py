"""`run.json` of a run folder: the recipe that made it, and the seconds each phase took."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from erde_cli.core.bundle.document import DOCUMENT, read_bundle_document
from erde_cli.core.errors import RunError, first_reason
from erde_cli.core.inference.answers_file import FILE, digest_in
from erde_cli.core.recipe.inputs import comparable, relevant
from erde_cli.core.recipe.loading import differences
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.storage.json_files import (
    Json,
    digest_of,
    not_what_erde_writes,
    read_json,
    require_format,
    write_json,
)
from erde_cli.core.workflows.options import Options

RUN_FILE, REPORT = "run.json", "report.json"
ANSWERS = (
    f"teacher/evaluation/test/{FILE}",
    f"student/evaluation/test/{FILE}",
    f"student/evaluation/calibration/{FILE}",
)  # in a run folder
FORMAT = 1
_OTHER_FOLDER = "name another folder with --out, or use this one with --force"


class RunDocument(BaseModel):
    """Content of `run.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1]
    recipe: Json
    seconds: dict[str, float]
    evaluated: str | None
    report: str | None
    drawn: bool
    answers: dict[str, str] = {}
    digest: str  # of all other keys, as they are in the file


class Journal:
    """`run.json`, written after every finished phase, so that a failed start leaves no trace.

    evaluated: digest of the evaluated networks and thresholds. report: digest of `report.json`.
    drawn: whether its pictures could be drawn. A missing picture is drawn again unless that failed.
    answers: digest of the content of each file of answers, by its path in the run folder.
    """

    def __init__(self, run: Path, recipe: Recipe, *, writes: bool = True) -> None:
        self.run, self._writes = run, writes
        stored = read_run(run)
        self._old_recipe: Json = stored.recipe if stored else {}
        self.seconds: dict[str, float] = dict(stored.seconds) if stored else {}
        self.evaluated: str | None = stored.evaluated if stored else None
        self.report: str | None = stored.report if stored else None
        self.drawn = stored.drawn if stored else True
        self.answers: dict[str, str] = dict(stored.answers) if stored else {}
        self._recipe = recipe
        self.kept: list[str] = []

    def refuse_other_recipe(self) -> None:
        """Check that the networks in the folder, if there are any, were made from this recipe.

        The recipe's name, and where the images are, make no difference.

        Raises:
            RunError: they were made from another recipe. The message lists the differences.
        """
        roles = [r for r in ROLES if (self.run / r / DOCUMENT).is_file()]
        lines: list[str] = []
        if roles and self._old_recipe:
            made_by = stored_recipe(self._old_recipe, self.run / RUN_FILE, _OTHER_FOLDER)
            lines = differences(comparable(made_by), comparable(self._recipe))
        elif roles:
            for role in roles:
                stored = read_bundle_document(self.run / role).recipe
                made_by = stored_recipe(stored, self.run / role / DOCUMENT, _OTHER_FOLDER)
                lines += differences(relevant(made_by, role), relevant(self._recipe, role))
        if lines:
            listed = "\n".join(f"  {line}" for line in dict.fromkeys(lines))
            raise RunError(
                f"{self.run} was made from another recipe:\n{listed}",
                hint="name another folder with --out, or use this one with --force: only the "
                "affected phases are repeated",
                expected="the recipe that made it",
            )

    def keep(self, phase: str, options: Options) -> None:
        """Note that the result of an earlier start is kept."""
        self.kept.append(phase)
        self.seconds.setdefault(phase, 0.0)
        options.observer.note(f"{phase}: nothing has changed, kept")

    @property
    def has_answers(self) -> bool:
        """Whether the answers of the last evaluation are unchanged; older versions kept none."""
        return all(
            name in self.answers and digest_in(self.run / name) == self.answers[name]
            for name in ANSWERS
        )

    def begin(self) -> float:
        """Note that a phase is done again, and drop the evaluation that depends on it."""
        self.evaluated = None
        if self._writes:
            (self.run / REPORT).unlink(missing_ok=True)
        return perf_counter()

    def finish(self, phase: str, start: float) -> None:
        """Note on disk that a phase is done."""
        self.record_seconds(phase, start)
        self.save()

    def record_seconds(self, phase: str, start: float) -> None:
        """Note how long a phase took, since `start`."""
        self.seconds[phase] = perf_counter() - start

    def save(self) -> None:
        """Write `run.json`."""
        if not self._writes:
            return
        document = {
            "format": FORMAT,
            "recipe": self._recipe.recorded(),
            "seconds": self.seconds,
            "evaluated": self.evaluated,
            "report": self.report,
            "drawn": self.drawn,
            "answers": self.answers,
        }
        write_json(self.run / RUN_FILE, {**document, "digest": digest_of(document)})


def read_run(run: Path) -> RunDocument | None:
    """Content of a run folder's `run.json`; None without one.

    Raises:
        RunError: it is damaged, or of another version.
    """
    path = run / RUN_FILE
    if not path.is_file():
        return None
    content = read_json(path)
    require_format(
        path,
        content,
        FORMAT,
        RunError,
        "use the version of erde that wrote it, or name another folder with --out",
    )
    hint = "remove it; finished phases are recognised by their bundles"
    try:
        document = RunDocument.model_validate(content)
    except ValidationError as error:
        raise not_what_erde_writes(path, error, hint, RunError, "what erde run writes") from error
    rest = {name: value for name, value in content.items() if name != "digest"}
    if document.digest != digest_of(rest):
        raise RunError(
            f"{path} is damaged, or was changed.", expected="what erde run writes", hint=hint
        )
    return document


def stored_recipe(stored: Json, where: Path, hint: str) -> Recipe:
    """The recipe that a run has stored.

    Raises:
        RunError: this version of erde cannot read it.
    """
    try:
        return Recipe.model_validate(stored)
    except ValidationError as error:
        raise RunError(
            f"The recipe in {where} cannot be read.",
            got=first_reason(error),
            expected="a recipe that this version of erde can read",
            hint=hint,
        ) from error
