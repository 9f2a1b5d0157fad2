"""`erde compare`: train the students of several seeds, and compare their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.bundle.document import DOCUMENT
from erde_cli.core.comparison.answers import PRECISION, Images, NetworkAnswers, network_answers
from erde_cli.core.comparison.document import Failed, Results
from erde_cli.core.comparison.files import write_results
from erde_cli.core.comparison.plan import Plan, claim
from erde_cli.core.comparison.results import AllAnswers, results
from erde_cli.core.comparison.rivals import static_rivals
from erde_cli.core.comparison.students import StudentSpec
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.summary import summarise
from erde_cli.core.errors import ErdeError, StoppedError
from erde_cli.core.inference.answers_file import FILE
from erde_cli.core.recipe.inputs import inputs_digest
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.storage.json_files import Json, parse_json
from erde_cli.core.training.class_weights import check_class_weights
from erde_cli.core.workflows.images import load_split, open_for_training
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.prepared import check_weights
from erde_cli.core.workflows.report import report_of_comparison
from erde_cli.core.workflows.teachers import check_splits, load_teacher
from erde_cli.core.workflows.train import distill, drop_checkpoints, train_teacher


class _Row(BaseModel):
    teacher_wrong: list[float] = []


@dataclass(frozen=True)
class Compared:
    """The results of a comparison, its folder, a summary of the images, and the report.

    page: the report to look at; None if it could not be written.
    """

    results: Results
    run: Path
    data: Json
    page: Path | None = None

    @property
    def failed(self) -> bool:
        """Whether any network could not be trained."""
        return bool(self.results.failed)

    def to_json(self) -> Json:
        """The object that `--json` prints: `results.json`, and the images."""
        return {**self.results.to_json(), "data": self.data}


@dataclass
class _Trained:
    """Networks by seed, and by seed and label; and those that could not be trained."""

    teachers: dict[int, Bundle] = field(default_factory=dict)
    students: dict[tuple[int, str], Bundle] = field(default_factory=dict)
    failed: list[Failed] = field(default_factory=list)
    errors: list[ErdeError] = field(default_factory=list)


def compare(plan: Plan, options: Options) -> Compared:
    """Train the missing networks, answer the images with all of them, compare, write the results.

    Networks made from the same inputs are kept, so a stopped comparison resumes. A network that
    cannot be trained is reported, and the others go on.

    Raises:
        RunError: the folder belongs to another comparison.
        ErdeError: no student could be trained; the first reason.
    """
    if plan.teacher is not None:
        load_teacher(plan.recipe, plan.teacher)
    dataset = open_for_training(plan.recipe, options)
    for role in ROLES if plan.teacher is None else ("student",):
        check_weights(plan.recipe, role, dataset)
    for student in plan.students:
        check_class_weights(student.recipe, dataset.class_names)
    if plan.teacher is not None:
        check_splits(plan.teacher, dataset)
    claim(plan)
    rivals = static_rivals(plan.static_recipe, len(dataset.class_names)) if plan.static else ()
    trained = _train_all(plan, rivals, dataset, options)
    found = _answers(plan, trained, dataset, options)
    if not found.students:
        raise trained.errors[0]
    compared = results(plan, found)
    write_results(plan.run, compared, options.observer)
    page = report_of_comparison(plan.run, compared, options)
    return Compared(compared, plan.run, summarise(dataset).to_json(), page)


def _train_all(
    plan: Plan, rivals: tuple[StudentSpec, ...], dataset: Dataset, options: Options
) -> _Trained:
    trained = _Trained()
    students = [*plan.students, *rivals]
    for seed in plan.seeds:
        teacher = _teacher(plan, seed, dataset, trained, options)
        for number, student in enumerate(students, 1):
            options.observer.phase(
                f"Seed {seed}, student {number} of {len(students)}: {student.name}"
            )
            _student(plan, seed, student, teacher, dataset, trained, options)
    return trained


def _teacher(
    plan: Plan, seed: int, dataset: Dataset, trained: _Trained, options: Options
) -> Bundle | None:
    if plan.teacher is not None:
        trained.teachers[seed] = plan.teacher
        return plan.teacher
    recipe = plan.recipe.model_copy(update={"seed": seed})
    folder = plan.seed_folder(seed)
    digest = inputs_digest(recipe, "teacher", dataset.fingerprint)
    options.observer.phase(f"Seed {seed}, teacher")

    def make() -> Bundle:
        return (
            _kept(folder / "teacher", digest, options)
            or train_teacher(recipe, folder, options, dataset, digest).bundle
        )

    bundle = _attempt(make, seed, "teacher", trained, options)
    if bundle is not None:
        trained.teachers[seed] = bundle
    return bundle


def _student(
    plan: Plan,
    seed: int,
    student: StudentSpec,
    teacher: Bundle | None,
    dataset: Dataset,
    trained: _Trained,
    options: Options,
) -> None:
    recipe: Recipe = student.recipe.model_copy(update={"seed": seed})
    folder = plan.seed_folder(seed) / student.name
    alone = student.method == "cross_entropy"

    def make() -> Bundle:
        if teacher is None and not alone:
            raise ErdeError("Its teacher is missing.")
        weights = None if teacher is None or alone else teacher.document.weights_digest
        digest = inputs_digest(recipe, "student", dataset.fingerprint, weights)
        kept = _kept(folder / "student", digest, options)
        taught_by = None if alone else teacher
        return kept or distill(recipe, folder, taught_by, options, dataset, digest).bundle

    bundle = _attempt(make, seed, student.name, trained, options)
    if bundle is not None:
        trained.students[seed, student.name] = bundle


def _kept(path: Path, digest: str, options: Options) -> Bundle | None:
    """The bundle at `path` if it was made from the same inputs, else None."""
    bundle = load_bundle(path) if (path / DOCUMENT).is_file() else None
    if bundle is None or bundle.document.inputs_digest != digest:
        return None
    drop_checkpoints(path)
    options.observer.note("nothing has changed, kept")
    return bundle


def _attempt(
    make: Callable[[], Bundle], seed: int, label: str, trained: _Trained, options: Options
) -> Bundle | None:
    """A network, or None with the reason recorded, so that one failure does not end the others."""
    try:
        return make()
    except StoppedError:
        raise
    except ErdeError as error:
        options.observer.warning(f"Seed {seed}, {label} failed. The others go on. {error}")
        trained.failed.append(Failed(seed, label, error.message))
        trained.errors.append(error)
        return None


def _answers(plan: Plan, trained: _Trained, dataset: Dataset, options: Options) -> AllAnswers:
    options.observer.phase("Answering calibration and test images")
    networks = (*trained.teachers.values(), *trained.students.values())
    images = {
        size: _images(dataset.at(size), options)
        for size in sorted({bundle.image_size for bundle in networks})
    }
    teachers: dict[int, NetworkAnswers] = {}
    for seed, bundle in trained.teachers.items():
        folder = plan.run if plan.teacher else plan.seed_folder(seed)
        path = folder / "teacher.safetensors"
        own = images[bundle.image_size]
        teachers[seed] = network_answers(bundle, own, path, options.observer)
    students: dict[tuple[int, str], NetworkAnswers] = {}
    total = len(trained.students)
    for done, ((seed, label), bundle) in enumerate(trained.students.items(), 1):
        path = plan.seed_folder(seed) / label / FILE
        own = images[bundle.image_size]
        students[seed, label] = network_answers(bundle, own, path, options.observer)
        options.observer.progress("Answering", done, total)
    wrong = {seed: _wrong_on_train(plan, seed) for seed in teachers}
    names = {student.name for student in plan.students}
    rivals = {key: one for key, one in students.items() if key[1] not in names}
    students = {key: one for key, one in students.items() if key[1] in names}
    return AllAnswers(teachers, students, rivals, wrong, trained.failed)


def _images(dataset: Dataset, options: Options) -> Images:
    calibration, test = (load_split(dataset, name, options) for name in ("calibration", "test"))
    context = options.inference_context(PRECISION)
    return Images(calibration, test, dataset.fingerprint, context)


def _wrong_on_train(plan: Plan, seed: int) -> list[float] | None:
    """Share of augmented train images the teacher's paired exits get wrong, in the last epoch."""
    for student in plan.students:
        path = plan.seed_folder(seed) / student.name / "logs" / "student" / "metrics.jsonl"
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
            wrong = _Row.model_validate(parse_json(lines[-1])).teacher_wrong if lines else []
        except (OSError, ValueError):  # a damaged log costs only this column
            continue
        if wrong:
            return wrong
    return None
