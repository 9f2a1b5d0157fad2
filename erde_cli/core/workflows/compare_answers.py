"""The answers of all networks of a comparison, each computed once and kept in a file."""

from __future__ import annotations

from pydantic import BaseModel

from erde_cli.core.comparison.answers import PRECISION, Images, NetworkAnswers, network_answers
from erde_cli.core.comparison.plan import Plan
from erde_cli.core.comparison.results import AllAnswers
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.inference.answers_file import FILE
from erde_cli.core.storage.json_files import parse_json
from erde_cli.core.workflows.compare_networks import Trained
from erde_cli.core.workflows.images import load_split
from erde_cli.core.workflows.options import Options


class _Row(BaseModel):
    teacher_wrong: list[float] = []


def all_answers(plan: Plan, trained: Trained, dataset: Dataset, options: Options) -> AllAnswers:
    """Answers of all networks on calibration and test images; those in files are read."""
    options.observer.phase("Answering calibration and test images")
    networks = (*trained.teachers.values(), *trained.students.values())
    images = {
        size: images_to_answer(dataset.at(size), options)
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


def images_to_answer(dataset: Dataset, options: Options) -> Images:
    """The images that the networks of a comparison answer, at the size of `dataset`."""
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
