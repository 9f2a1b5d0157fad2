"""`erde run`: every phase of a recipe, each skipped while its inputs are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.bundle.writer import with_calibration
from erde_cli.core.comparison.paired import paired_drop_interval
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.summary import summarise
from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.storage.json_files import Json, digest_of, read_json, write_json
from erde_cli.core.workflows.calibrate import calibrate_bundle, target_of
from erde_cli.core.workflows.evaluate import (
    Evaluation,
    evaluate_store,
    point_of,
    warn_of_drift,
)
from erde_cli.core.workflows.evaluation_files import CONFUSION, TRADE_OFF, write_evaluation
from erde_cli.core.workflows.images import dataset_of, load_split, open_for_training
from erde_cli.core.workflows.journal import REPORT, Journal
from erde_cli.core.workflows.kept import (
    PHASES,
    PRECISION,
    evaluated_digest,
    kept_network,
    kept_thresholds,
)
from erde_cli.core.workflows.options import Options, reported
from erde_cli.core.workflows.plan import Plan, plan_run
from erde_cli.core.workflows.profile import Profiled, profile_bundle
from erde_cli.core.workflows.report_format import is_report
from erde_cli.core.workflows.train import distill, drop_checkpoints, train_teacher


@dataclass(frozen=True)
class RunResult:
    """The final comparison of teacher and student, as `report.json` holds it.

    data: which images there are now, while the report may be kept from before.
    """

    run: Path
    report: Json
    data: Json
    costs: Profiled
    kept: list[str]

    @property
    def picture(self) -> Path | None:
        """The student's trade-off; None where it could not be drawn."""
        path = self.run / "student" / "evaluation" / "test" / TRADE_OFF
        return path if path.is_file() else None

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {**self.report, "data": self.data}


@reported
def run_recipe(recipe: Recipe, run: Path, options: Options, *, force: bool = False) -> RunResult:
    """Train, distill, calibrate and evaluate; what is there and still valid is kept.

    Raises:
        RunError: the folder was made by another recipe, and `force` is not set.
    """
    journal = Journal(run, recipe)
    if not force:
        journal.refuse_other_recipe()
    dataset = open_for_training(recipe, options)
    ahead = _Ahead(_planned(recipe, run, dataset, options), options, journal)
    ahead.before("teacher")
    teacher = _teacher(recipe, run, dataset, journal, options, force)
    ahead.before("student")
    student = _student(recipe, run, dataset, teacher, journal, options, force)
    _thresholds(recipe, dataset, student, journal, options)
    report = _evaluation(run, dataset, teacher, student, journal, options)
    data = summarise(dataset).to_json()
    return RunResult(run, report, data, profile_bundle(student.path, options), journal.kept)


def _planned(recipe: Recipe, run: Path, dataset: Dataset, options: Options) -> Plan | None:
    """What is about to be done, in a line; None where nobody looks, or nothing is trained."""
    if not options.observer.shows_progress:
        return None
    try:
        plan = plan_run(recipe, run, dataset, options, force=True)  # refused by now, if at all
    except BundleError:  # with --force it is made again; without, the run is about to say so
        return None
    if plan.roles["student"].kept and plan.roles["teacher"].kept:
        return None
    options.observer.note(plan.in_short())
    return plan


@dataclass(frozen=True)
class _Ahead:
    """Tells at each training how long all that comes after it will take."""

    plan: Plan | None
    options: Options
    journal: Journal

    def before(self, phase: str) -> None:
        """Tell it; where the phases before took longer than planned, so will the others."""
        if self.plan is None:
            return
        done = PHASES[: PHASES.index(phase)]
        planned = sum(self.plan.seconds[one] for one in done if one not in self.journal.kept)
        took = sum(
            self.journal.seconds.get(one, 0.0) for one in done if one not in self.journal.kept
        )
        slower = took / planned if planned and took else 1.0
        self.options.observer.ahead(self.plan.after(phase) * slower)


def _kept(look: Callable[[], Bundle | None], force: bool, options: Options) -> Bundle | None:
    """A network that need not be trained again; one that is damaged is, with `force`."""
    try:
        bundle = look()
    except BundleError as error:
        if not force:
            raise
        options.observer.warning(f"{error.message} It is made again.")
        return None
    if bundle is not None:
        drop_checkpoints(bundle.path)
    return bundle


def _teacher(
    recipe: Recipe, run: Path, dataset: Dataset, journal: Journal, options: Options, force: bool
) -> Bundle:
    look = partial(kept_network, recipe, "teacher", run, dataset, None)
    bundle = _kept(look, force, options)
    if bundle is not None:
        journal.keep("teacher", options)
        return bundle
    start = journal.begin()
    options.training_context(recipe.training.student)  # not once the teacher is trained
    bundle = train_teacher(recipe, run, options, dataset).bundle
    journal.finish("teacher", start)
    return bundle


def _student(
    recipe: Recipe,
    run: Path,
    dataset: Dataset,
    teacher: Bundle,
    journal: Journal,
    options: Options,
    force: bool,
) -> Bundle:
    look = partial(kept_network, recipe, "student", run, dataset, teacher)
    bundle = _kept(look, force, options)
    if bundle is not None:
        journal.keep("student", options)
        return with_calibration(bundle, recipe.calibration)
    start = journal.begin()
    bundle = distill(recipe, run, None, options, dataset).bundle
    journal.finish("student", start)
    return bundle


def _thresholds(
    recipe: Recipe, dataset: Dataset, student: Bundle, journal: Journal, options: Options
) -> None:
    if kept_thresholds(recipe, dataset, student.thresholds()):
        journal.keep("calibration", options)
        return
    start = journal.begin()
    target, temperature = target_of(recipe.calibration), recipe.calibration.temperature
    calibrate_bundle(student.path, target, options, dataset=dataset, temperature=temperature)
    journal.finish("calibration", start)


def _evaluation(
    run: Path,
    dataset: Dataset,
    teacher: Bundle,
    student: Bundle,
    journal: Journal,
    options: Options,
) -> Json:
    digest = evaluated_digest(teacher, student)
    folders = {role: run / role / "evaluation" / "test" for role in ("teacher", "student")}
    report = _written_report(run / REPORT, journal.report)
    drawn = (TRADE_OFF, CONFUSION) if report and "classes" in report["student"] else (TRADE_OFF,)
    pictures = all((folder / name).is_file() for folder in folders.values() for name in drawn)
    if journal.evaluated == digest and report is not None and (pictures or not journal.drawn):
        if not pictures:
            options.observer.note(
                "A picture could not be drawn then; to draw it now, type: "
                f"erde evaluate {student.path}"
            )
        journal.keep("evaluation", options)
        journal.save()
        return report
    start = journal.begin()
    options.observer.phase("Evaluating on the test split")
    context = options.inference_context(PRECISION)
    store = load_split(dataset_of(student, options, dataset), "test", options)
    of_teacher = evaluate_store(teacher, store, "test", context, adaptive=False)
    of_student = evaluate_store(student, store, "test", context).compared_with(of_teacher)
    warn_of_drift(of_student, options)
    observer = options.observer
    first = write_evaluation(of_teacher, None, folders["teacher"], observer)
    last = write_evaluation(of_student, point_of(of_teacher), folders["student"], observer)
    journal.took("evaluation", start)
    report = compare(of_teacher, of_student, journal.seconds)
    report["data"] = summarise(dataset).to_json()
    write_json(run / REPORT, report)
    options.observer.artifact(run / REPORT, "report")
    journal.evaluated, journal.report = digest, digest_of(report)
    journal.drawn = all(one.picture and one.confusion for one in (first, last))
    journal.save()
    return report


def _written_report(path: Path, digest: str | None) -> Json | None:
    """Read `report.json`, if it is there and is what was written."""
    try:
        report = read_json(path) if path.is_file() else None
    except InputError:
        return None
    return report if is_report(report) and digest in (None, digest_of(report)) else None


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
