"""`erde run`: all phases of a recipe; a phase whose inputs have not changed is skipped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.bundle.writer import with_calibration
from erde_cli.core.comparison.paired import paired_drop_interval
from erde_cli.core.data.summary import summarise
from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.events import Role
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.storage.json_files import Json, digest_of, read_json, write_json
from erde_cli.core.workflows.calibrate import calibrate_bundle, target_of
from erde_cli.core.workflows.calibration_images import Source
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
    Networks,
    evaluated_digest,
    kept_thresholds,
)
from erde_cli.core.workflows.options import Options, reported
from erde_cli.core.workflows.plan import Plan, plan_run
from erde_cli.core.workflows.profile import Profiled, profile_bundle
from erde_cli.core.workflows.report_format import is_report
from erde_cli.core.workflows.train import distill, drop_checkpoints, train_teacher


@dataclass(frozen=True)
class RunResult:
    """The comparison of teacher and student in `report.json`.

    data: summary of the images as they are now; the report can be from an earlier run.
    """

    run: Path
    report: Json
    data: Json
    costs: Profiled
    kept: list[str]

    @property
    def picture(self) -> Path | None:
        """The student's trade-off; None if it could not be drawn."""
        path = _evaluation_of(self.run, "student") / TRADE_OFF
        return path if path.is_file() else None

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {**self.report, "data": self.data}


@reported
def run_recipe(recipe: Recipe, run: Path, options: Options, *, force: bool = False) -> RunResult:
    """Train, distill, calibrate and evaluate; keep results that are still valid.

    Raises:
        RunError: the folder belongs to another recipe, and `force` is not set.
    """
    journal = Journal(run, recipe)
    if not force:
        journal.refuse_other_recipe()
    networks = Networks(recipe, run, open_for_training(recipe, options))
    plan = _show_plan(networks, options)
    phases = _Phases(networks, journal, options, force)
    _show_remaining(plan, "teacher", journal, options)
    teacher = phases.network("teacher")
    _show_remaining(plan, "student", journal, options)
    student = phases.network("student")
    phases.thresholds(student)
    report = phases.evaluation(teacher, student)
    data = summarise(networks.dataset).to_json()
    return RunResult(run, report, data, profile_bundle(student, options), journal.kept)


def _show_plan(networks: Networks, options: Options) -> Plan | None:
    """Show the plan in a line; None if progress is hidden or nothing is trained."""
    if not options.observer.shows_progress:
        return None
    try:
        plan = plan_run(networks, options, force=True)  # another recipe was refused before
    except BundleError:  # trained again with --force; reported by the run without it
        return None
    if plan.roles["student"].kept and plan.roles["teacher"].kept:
        return None
    options.observer.note(plan.in_short())
    return plan


def _show_remaining(plan: Plan | None, phase: str, journal: Journal, options: Options) -> None:
    """Report how long the phases after one will take, at the pace of those before it."""
    if plan is None:
        return
    phases = [one for one in PHASES[: PHASES.index(phase)] if one not in journal.kept]
    planned = sum(plan.seconds[one] for one in phases)
    measured = sum(journal.seconds.get(one, 0.0) for one in phases)
    pace = measured / planned if planned and measured else 1.0
    options.observer.ahead(plan.after(phase) * pace)


@dataclass(frozen=True)
class _Phases:
    """The phases of a run; each is done, or kept from an earlier run."""

    networks: Networks
    journal: Journal
    options: Options
    force: bool

    def network(self, role: Role) -> Bundle:
        """Train the teacher or the student, or load the kept one."""
        bundle = self._kept(role)
        if bundle is not None:
            self.journal.keep(role, self.options)
            settings = self.networks.recipe.calibration
            return with_calibration(bundle, settings) if role == "student" else bundle
        start = self.journal.begin()
        bundle = self._trained(role)
        self.networks.put(role, bundle)
        self.journal.finish(role, start)
        return bundle

    def _kept(self, role: Role) -> Bundle | None:
        """A network that is still valid; with `force`, None if it is damaged."""
        try:
            bundle = self.networks.kept(role)
        except BundleError as error:
            if not self.force:
                raise
            self.options.observer.warning(f"{error.message} It is trained again.")
            return None
        if bundle is not None:
            drop_checkpoints(bundle.path)
        return bundle

    def _trained(self, role: Role) -> Bundle:
        recipe, run, dataset = self.networks.recipe, self.networks.run, self.networks.dataset
        digest = self.networks.digest(role)
        if role == "teacher":
            # Fail before the teacher is trained if the student cannot be trained here.
            self.options.training_context(recipe.training.student)
            return train_teacher(recipe, run, self.options, dataset, digest).bundle
        has_teacher = recipe.distillation.method != "cross_entropy"
        teacher = self.networks.kept("teacher") if has_teacher else None
        return distill(recipe, run, teacher, self.options, dataset, digest).bundle

    def thresholds(self, student: Bundle) -> None:
        """Choose the student's thresholds, unless those of this recipe exist."""
        recipe, dataset = self.networks.recipe, self.networks.dataset
        if kept_thresholds(recipe, dataset, student.thresholds()):
            self.journal.keep("calibration", self.options)
            return
        start = self.journal.begin()
        target, temperature = target_of(recipe.calibration), recipe.calibration.temperature
        calibrate_bundle(
            student, target, self.options, source=Source(dataset=dataset), temperature=temperature
        )
        self.journal.finish("calibration", start)

    def evaluation(self, teacher: Bundle, student: Bundle) -> Json:
        """Evaluate both networks on the test split; the object of `report.json`."""
        run, journal = self.networks.run, self.journal
        digest = evaluated_digest(teacher, student)
        report = _read_report(run / REPORT, journal.report)
        if journal.evaluated == digest and report is not None:
            pictures = _has_pictures(run)
            if pictures or not journal.drawn:
                self._keep_evaluation(student, pictures=pictures)
                return report
        start = journal.begin()
        of_teacher, of_student = self._evaluated(teacher, student)
        journal.took("evaluation", start)
        report = _compare(of_teacher, of_student, journal.seconds)
        report["data"] = summarise(self.networks.dataset).to_json()
        write_json(run / REPORT, report)
        self.options.observer.artifact(run / REPORT, "report")
        journal.evaluated, journal.report = digest, digest_of(report)
        journal.save()
        return report

    def _keep_evaluation(self, student: Bundle, *, pictures: bool) -> None:
        if not pictures:
            self.options.observer.note(
                "A picture could not be drawn in the earlier run. To draw it, type: "
                f"erde evaluate {student.path}"
            )
        self.journal.keep("evaluation", self.options)
        self.journal.save()

    def _evaluated(self, teacher: Bundle, student: Bundle) -> tuple[Evaluation, Evaluation]:
        """Evaluate both on the test split, and write the results into their folders."""
        options, observer = self.options, self.options.observer
        observer.phase("Evaluating on the test split")
        context = options.inference_context(PRECISION)
        dataset = dataset_of(student, options, self.networks.dataset)
        store = load_split(dataset, "test", options)
        of_teacher = evaluate_store(teacher, store, "test", context, adaptive=False)
        of_student = evaluate_store(student, store, "test", context).compared_with(of_teacher)
        warn_of_drift(of_student, options)
        run = self.networks.run
        written = (
            write_evaluation(of_teacher, None, _evaluation_of(run, "teacher"), observer),
            write_evaluation(
                of_student, point_of(of_teacher), _evaluation_of(run, "student"), observer
            ),
        )
        self.journal.drawn = all(one.picture and one.confusion for one in written)
        return of_teacher, of_student


def _evaluation_of(run: Path, role: Role) -> Path:
    """Folder of a network's evaluation on the test split."""
    return run / role / "evaluation" / "test"


def _has_pictures(run: Path) -> bool:
    names = (TRADE_OFF, CONFUSION)
    return all((_evaluation_of(run, role) / name).is_file() for role in ROLES for name in names)


def _read_report(path: Path, digest: str | None) -> Json | None:
    """Read `report.json`; None if it is missing or has changed."""
    try:
        report = read_json(path) if path.is_file() else None
    except InputError:
        return None
    return report if is_report(report) and digest == digest_of(report) else None


def _compare(teacher: Evaluation, student: Evaluation, seconds: dict[str, float]) -> Json:
    """MACs that the student saves against its teacher, and accuracy points that it loses.

    `macs_ratio` is `size_ratio` (static networks) times `exit_ratio` (early exit).
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
