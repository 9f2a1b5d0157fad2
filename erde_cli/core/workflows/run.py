"""`erde run`: all phases of a recipe. A result is kept if its inputs have not changed."""

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
from erde_cli.core.workflows.evaluate import evaluate_store, warn_of_drift
from erde_cli.core.workflows.evaluation import Evaluation, point_of
from erde_cli.core.workflows.evaluation_files import (
    CONFUSION,
    TRADE_OFF,
    write_answers,
    write_evaluation,
)
from erde_cli.core.workflows.images import dataset_of, load_split, open_for_training
from erde_cli.core.workflows.journal import ANSWERS, REPORT, Journal
from erde_cli.core.workflows.kept import (
    PHASES,
    PRECISION,
    Networks,
    evaluated_digest,
    kept_thresholds,
)
from erde_cli.core.workflows.kept_answers import evaluation_folder, keep_calibration
from erde_cli.core.workflows.options import Options, reported
from erde_cli.core.workflows.plan import Plan, plan_run
from erde_cli.core.workflows.prepared import check_weights
from erde_cli.core.workflows.profile import Profiled, profile_bundle
from erde_cli.core.workflows.report import kept_report, report_of_run
from erde_cli.core.workflows.report_format import is_report
from erde_cli.core.workflows.thumbnails import send_thumbnails
from erde_cli.core.workflows.train import distill, drop_checkpoints, train_teacher


@dataclass(frozen=True)
class RunResult:
    """Results of a run.

    report: object of `report.json`, perhaps of an earlier run. data: summary of the images as they
    are now; it replaces the one in the report. costs: of the student. kept: phases whose earlier
    results are still valid. page: the report to look at; None if it could not be written.
    """

    run: Path
    report: Json
    data: Json
    costs: Profiled
    kept: list[str]
    page: Path | None = None

    @property
    def picture(self) -> Path | None:
        """Path of the picture of the student's trade-off; None if it could not be drawn."""
        path = evaluation_folder(self.run / "student", "test") / TRADE_OFF
        return path if path.is_file() else None

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {**self.report, "data": self.data}


@reported
def run_recipe(
    recipe: Recipe, run: Path, options: Options, *, force: bool = False
) -> RunResult | None:
    """Train, distill, calibrate and evaluate; keep results that are still valid.

    Of several processes, all train, and rank 0 does the rest. The others get None.

    Raises:
        RunError: the folder belongs to another recipe, and `force` is not set.
        BundleError: a network of an earlier run is damaged, and `force` is not set.
    """
    journal = Journal(run, recipe, writes=options.engine.leads)
    if not force:
        journal.refuse_other_recipe()
    networks = Networks(recipe, run, open_for_training(recipe, options))
    plan = _show_plan(networks, options)
    phases = _Phases(networks, journal, options, force)
    _show_remaining(plan, "teacher", journal, options)
    teacher = phases.train("teacher")
    _show_remaining(plan, "student", journal, options)
    student = phases.train("student")
    if not options.engine.leads:
        return None
    phases.calibrate(student)
    data = summarise(networks.dataset).to_json()
    report = phases.evaluate(teacher, student, data)
    costs = profile_bundle(student, options)
    bundles = {"teacher": teacher, "student": student}
    page = kept_report(run) if len(journal.kept) == len(PHASES) else None
    page = page or report_of_run(run, options, networks.dataset, bundles)
    return RunResult(run, report, data, costs, journal.kept, page)


def _show_plan(networks: Networks, options: Options) -> Plan | None:
    """Make the plan and show it in one line; None if it is not needed or cannot be made."""
    if not options.observer.shows_progress or options.engine.world_size > 1:
        return None  # it times the steps of one process
    try:
        plan = plan_run(networks, options, force=True)  # `run_recipe` refuses another recipe
    except BundleError:  # a damaged network: `_Phases` reports it, or trains it again
        return None
    if plan.roles["student"].kept and plan.roles["teacher"].kept:
        return None
    options.observer.note(plan.in_short())
    return plan


def _show_remaining(plan: Plan | None, phase: str, journal: Journal, options: Options) -> None:
    """Report the seconds that the later phases will take, at the pace of those already done."""
    if plan is None:
        return
    done = [one for one in PHASES[: PHASES.index(phase)] if one not in journal.kept]
    planned = sum(plan.seconds[one] for one in done)
    measured = sum(journal.seconds.get(one, 0.0) for one in done)
    pace = measured / planned if planned and measured else 1.0
    options.observer.ahead(plan.after(phase) * pace)


@dataclass(frozen=True)
class _Phases:
    """The phases of a run; each is done, or kept from an earlier run."""

    networks: Networks
    journal: Journal
    options: Options
    force: bool

    def train(self, role: Role) -> Bundle:
        """The teacher or student: the valid one of an earlier run, or a newly trained one."""
        bundle = self._kept(role)
        if bundle is not None:
            self.journal.keep(role, self.options)
            # No weight depends on the section `calibration`: a kept student can have an older one.
            settings = self.networks.recipe.calibration
            updates = role == "student" and self.options.engine.leads
            return with_calibration(bundle, settings) if updates else bundle
        start = self.journal.begin()
        bundle = self._trained(role)
        self.networks.put(role, bundle)
        self.journal.finish(role, start)
        return bundle

    def _kept(self, role: Role) -> Bundle | None:
        """A network of an earlier run without its checkpoints; None if it must be trained."""
        try:
            bundle = self.networks.kept(role)
        except BundleError as error:
            if not self.force:
                raise
            self.options.observer.warning(f"{error.message} The network is trained again.")
            return None
        if bundle is not None and self.options.engine.leads:
            drop_checkpoints(bundle.path)
        return bundle

    def _trained(self, role: Role) -> Bundle:
        recipe, run, dataset = self.networks.recipe, self.networks.run, self.networks.dataset
        digest = self.networks.digest(role)
        if role == "teacher":
            # Fail before the teacher is trained if the student cannot be trained here.
            self.options.training_context(recipe.training.student)
            with self.options.engine.first():
                check_weights(recipe, "student", dataset)
            return train_teacher(recipe, run, self.options, dataset, digest).bundle
        has_teacher = recipe.distillation.method != "cross_entropy"
        teacher = self.networks.kept("teacher") if has_teacher else None
        return distill(recipe, run, teacher, self.options, dataset, digest).bundle

    def calibrate(self, student: Bundle) -> None:
        """Choose the student's thresholds, unless this recipe has already chosen them."""
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
        send_thumbnails(student, dataset, self.options)

    def evaluate(self, teacher: Bundle, student: Bundle, data: Json) -> Json:
        """Evaluate both networks on the test split, unless a valid report exists.

        Returns:
            The object of `report.json`.
        """
        run, journal = self.networks.run, self.journal
        digest = evaluated_digest(teacher, student)
        report = _read_report(run / REPORT, journal.report)
        if journal.evaluated == digest and report is not None and journal.has_answers:
            # Evaluate again for a missing picture, unless drawing it has failed before.
            pictures = _has_pictures(run)
            if pictures or not journal.drawn:
                self._keep_evaluation(student, pictures=pictures)
                return report
        start = journal.begin()
        teacher_evaluation, student_evaluation = self._evaluated(teacher, student)
        journal.record_seconds("evaluation", start)
        report = _compare(teacher_evaluation, student_evaluation, journal.seconds)
        report["data"] = data
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
        """Evaluate teacher and student on the test split, and write the results of each."""
        options, observer = self.options, self.options.observer
        observer.phase("Evaluating on the test split")
        context = options.inference_context(PRECISION)
        dataset = dataset_of(student, options, self.networks.dataset)
        of_teacher = load_split(dataset.at(teacher.image_size), "test", options)
        teacher_evaluation = evaluate_store(teacher, of_teacher, "test", context, adaptive=False)
        store = load_split(dataset, "test", options)
        student_evaluation = evaluate_store(student, store, "test", context).compared_with(
            teacher_evaluation
        )
        warn_of_drift(student_evaluation, options)
        teacher_folder = evaluation_folder(self.networks.run / "teacher", "test")
        student_folder = evaluation_folder(self.networks.run / "student", "test")
        teacher_point = point_of(teacher_evaluation)
        written = (
            write_evaluation(teacher_evaluation, None, teacher_folder, observer),
            write_evaluation(student_evaluation, teacher_point, student_folder, observer),
        )
        self.journal.drawn = all(one.picture and one.confusion for one in written)
        kept = [
            write_answers(one, folder)
            for one, folder in (
                (teacher_evaluation, teacher_folder),
                (student_evaluation, student_folder),
            )
        ]
        calibration = load_split(dataset, "calibration", options)
        kept.append(keep_calibration(student, calibration, context))
        self.journal.answers = dict(zip(ANSWERS, kept, strict=True))
        return teacher_evaluation, student_evaluation


def _has_pictures(run: Path) -> bool:
    names = (TRADE_OFF, CONFUSION)
    folders = [evaluation_folder(run / role, "test") for role in ROLES]
    return all((folder / name).is_file() for folder in folders for name in names)


def _read_report(path: Path, digest: str | None) -> Json | None:
    """Read `report.json`; None if it is missing or has changed."""
    try:
        report = read_json(path) if path.is_file() else None
    except InputError:
        return None
    return report if is_report(report) and digest == digest_of(report) else None


def _compare(teacher: Evaluation, student: Evaluation, seconds: dict[str, float]) -> Json:
    """The report without `data`: both evaluations, ratios of MACs, and the accuracy lost.

    `macs_ratio` is `size_ratio` (static networks) times `exit_ratio` (early exit). `accuracy_drop`
    and its 95 % interval are in points.
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
