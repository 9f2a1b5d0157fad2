"""`erde run`: every phase of a recipe, each skipped while its inputs are the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from erde_cli.core.bundle import Bundle, load_bundle, read_bundle_document
from erde_cli.core.data import Dataset, open_dataset
from erde_cli.core.errors import BundleError, RunError
from erde_cli.core.files import digest_of, read_json, write_json
from erde_cli.core.metrics import paired_drop_interval
from erde_cli.core.recipe import Recipe, differences
from erde_cli.core.workflows.calibrate import calibrate_bundle, target_of
from erde_cli.core.workflows.evaluate import (
    Evaluation,
    evaluate_store,
    point_of,
    write_evaluation,
)
from erde_cli.core.workflows.images import dataset_of, load_split
from erde_cli.core.workflows.options import Json, Options
from erde_cli.core.workflows.phases import inputs_digest, relevant
from erde_cli.core.workflows.profile import Profiled, profile_bundle
from erde_cli.core.workflows.training import distill, train_teacher

RUN_FILE, REPORT = "run.json", "report.json"


@dataclass(frozen=True)
class RunResult:
    """The final comparison of teacher and student, as `report.json` holds it."""

    run: Path
    report: Json
    costs: Profiled
    kept: list[str]

    @property
    def picture(self) -> Path:
        """The student's trade-off."""
        return self.run / "student" / "evaluation" / "test" / "tradeoff.png"

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return self.report


def run_recipe(recipe: Recipe, run: Path, options: Options, *, force: bool = False) -> RunResult:
    """Train, distill, calibrate and evaluate; what is there and still valid is kept.

    Raises:
        RunError: the folder was made by another recipe, and `force` is not set.
    """
    journal = _Journal(run, recipe)
    if not force:
        _refuse_other_recipe(run, recipe, journal)
    journal.save()
    dataset = open_dataset(recipe.data)
    teacher = _teacher(recipe, run, dataset, journal, options)
    student = _student(recipe, run, dataset, teacher, journal, options)
    _thresholds(recipe, dataset, student, journal, options)
    report = _evaluation(run, dataset, teacher, student, journal, options)
    return RunResult(run, report, profile_bundle(student.path, options), journal.kept)


class _Journal:
    """`run.json`: the recipe that made the folder, and the seconds each phase took."""

    def __init__(self, run: Path, recipe: Recipe) -> None:
        self._path = run / RUN_FILE
        found = read_json(self._path) if self._path.is_file() else {}
        self.old_recipe: Json = found.get("recipe", {})
        self.seconds: dict[str, float] = found.get("seconds", {})
        self.evaluated: str | None = found.get("evaluated")
        self._recipe = recipe.model_dump()
        self.kept: list[str] = []

    def save(self) -> None:
        document = {"recipe": self._recipe, "seconds": self.seconds, "evaluated": self.evaluated}
        write_json(self._path, document)

    def took(self, phase: str, start: float) -> None:
        self.seconds[phase] = perf_counter() - start
        self.save()

    def keep(self, phase: str, options: Options) -> None:
        self.kept.append(phase)
        self.seconds.setdefault(phase, 0.0)
        options.observer.note(f"{phase}: nothing has changed, kept")


def _refuse_other_recipe(run: Path, recipe: Recipe, journal: _Journal) -> None:
    lines: list[str] = []
    if journal.old_recipe:
        lines = differences(journal.old_recipe, recipe.model_dump())
    else:
        for role in ("teacher", "student"):
            if (run / role).is_dir():
                made_by = read_bundle_document(run / role).recipe
                lines += differences(_part(made_by, role), relevant(recipe, role))
    if lines:
        listed = "\n".join(f"  {line}" for line in dict.fromkeys(lines))
        raise RunError(
            f"{run} was made from another recipe:\n{listed}",
            hint="name another folder with --out, or take this one over with --force",
        )


def _part(made_by: Json, role: str) -> Json:
    try:
        return relevant(Recipe.model_validate(made_by), role)
    except ValueError as error:
        raise BundleError(f"The recipe in the {role}'s bundle cannot be read: {error}") from error


def _kept(path: Path, digest: str) -> Bundle | None:
    """Return the bundle, if it is whole and was made from the same inputs."""
    if not path.is_dir():
        return None
    bundle = load_bundle(path)
    return bundle if bundle.document.inputs_digest == digest else None


def _teacher(
    recipe: Recipe, run: Path, dataset: Dataset, journal: _Journal, options: Options
) -> Bundle:
    bundle = _kept(run / "teacher", inputs_digest(recipe, "teacher", dataset.fingerprint))
    if bundle is not None:
        journal.keep("teacher", options)
        return bundle
    start = perf_counter()
    bundle = train_teacher(recipe, run, options, dataset).bundle
    journal.took("teacher", start)
    return bundle


def _student(
    recipe: Recipe,
    run: Path,
    dataset: Dataset,
    teacher: Bundle,
    journal: _Journal,
    options: Options,
) -> Bundle:
    alone = recipe.distillation.method == "cross_entropy"
    weights = None if alone else teacher.document.weights_digest
    bundle = _kept(run / "student", inputs_digest(recipe, "student", dataset.fingerprint, weights))
    if bundle is not None:
        journal.keep("student", options)
        return bundle
    start = perf_counter()
    bundle = distill(recipe, run, None, options, dataset).bundle
    journal.took("student", start)
    return bundle


def _thresholds(
    recipe: Recipe, dataset: Dataset, student: Bundle, journal: _Journal, options: Options
) -> None:
    target = target_of(recipe.calibration)
    found = student.thresholds()
    wanted = recipe.calibration.target
    if found and (found.target["kind"], found.target["value"]) == wanted:
        journal.keep("calibration", options)
        return
    start = perf_counter()
    calibrate_bundle(student.path, target, options, dataset=dataset)
    journal.took("calibration", start)


def _evaluation(
    run: Path,
    dataset: Dataset,
    teacher: Bundle,
    student: Bundle,
    journal: _Journal,
    options: Options,
) -> Json:
    thresholds = student.thresholds()
    described = {
        "teacher": teacher.document.weights_digest,
        "student": student.document.weights_digest,
        "thresholds": thresholds.model_dump() if thresholds else None,
    }
    digest = digest_of(described)
    if journal.evaluated == digest and (run / REPORT).is_file():
        journal.keep("evaluation", options)
        journal.save()
        report: Json = read_json(run / REPORT)
        return report
    start = perf_counter()
    options.observer.phase("Evaluating on the test split")
    context = options.context(thresholds.precision if thresholds else "float32")
    store = load_split(dataset_of(student, dataset), "test", options)
    of_teacher = evaluate_store(teacher, store, "test", context, adaptive=False)
    of_student = evaluate_store(student, store, "test", context)
    folders = {"teacher": of_teacher, "student": of_student}
    for name, evaluation in folders.items():
        point = point_of(of_teacher) if name == "student" else None
        write_evaluation(evaluation, point, run / name / "evaluation" / "test")
    journal.evaluated = digest
    journal.took("evaluation", start)
    report = compare(of_teacher, of_student, journal.seconds)
    write_json(run / REPORT, report)
    return report


def compare(teacher: Evaluation, student: Evaluation, seconds: dict[str, float]) -> Json:
    """What the student saves against its teacher, and what that costs in accuracy.

    `macs_ratio` is `size_ratio` (static networks) times `exit_ratio` (leaving early).
    """
    expected = student.adaptive.expected_macs
    teacher_right = teacher.answers.correct[:, -1]
    low, high = paired_drop_interval(teacher_right, student.right)
    return {
        "teacher": teacher.to_json(),
        "student": student.to_json(),
        "macs_ratio": teacher.profile.static_macs / expected,
        "size_ratio": teacher.profile.static_macs / student.profile.static_macs,
        "exit_ratio": student.profile.static_macs / expected,
        "accuracy_drop": 100 * (teacher.full_accuracy - student.adaptive.accuracy),
        "accuracy_drop_interval": [low, high],
        "seconds": dict(seconds),
    }
