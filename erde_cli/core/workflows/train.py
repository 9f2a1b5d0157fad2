"""`erde train-teacher` and `erde distill`: from a recipe to a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.bundle.writer import Images, Origin, check_target, save_bundle
from erde_cli.core.calibration.halves import tuning_half
from erde_cli.core.data.batches import Batches
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.summary import summarise
from erde_cli.core.device import Context
from erde_cli.core.errors import InputError
from erde_cli.core.events import Role
from erde_cli.core.figures import counted
from erde_cli.core.inference.answers import Answers, answer_all, ready
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.profile import profile_model
from erde_cli.core.recipe.inputs import inputs_digest
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.storage.json_files import Json
from erde_cli.core.training.checkpoints import Checkpoints
from erde_cli.core.training.epochs import TrainingRecorder, train_epochs
from erde_cli.core.training.loop import EpochRecord, Epochs
from erde_cli.core.workflows.images import load_for_training, load_split, open_for_training
from erde_cli.core.workflows.kept_features import kept_features
from erde_cli.core.workflows.options import Options, reported
from erde_cli.core.workflows.prepared import Prepared, check_weights, prepare
from erde_cli.core.workflows.profile import warn_of_useless_exits
from erde_cli.core.workflows.teachers import (
    check_splits,
    load_teacher,
    teacher_correct,
    teacher_logits,
)

_CHECKPOINTS = "checkpoints"  # a folder of a run
_ALMOST_KD = 0.01  # share of teacher errors


@dataclass(frozen=True)
class Trained:
    """A new bundle, figures of its training, and a summary of the images."""

    bundle: Bundle
    epochs: int
    images_per_second: float
    accuracy_calibration: list[float]
    seconds: float
    data: Json

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {
            "bundle": str(self.bundle.path),
            "epochs": self.epochs,
            "images_per_second": self.images_per_second,
            "accuracy_calibration": self.accuracy_calibration,
            "seconds": self.seconds,
            "data": self.data,
        }


@reported
def train_teacher(
    recipe: Recipe,
    run: Path,
    options: Options,
    dataset: Dataset | None = None,
    digest: str | None = None,
) -> Trained:
    """Train the recipe's teacher and write the bundle `run/teacher`.

    `dataset` and `digest` (of the inputs) save their computation if the caller has them.
    """
    start = perf_counter()
    check_target(run / "teacher")
    context = options.training_context(recipe.training.teacher)
    dataset = dataset or open_for_training(recipe, options)
    with options.engine.first():
        check_weights(recipe, "teacher", dataset)
    options.observer.phase("Training the teacher")
    digest = digest or inputs_digest(recipe, "teacher", dataset.fingerprint)
    task = _Task("teacher", recipe, digest, run)
    return _train(task, dataset, None, context, options, start)


@reported
def distill(
    recipe: Recipe,
    run: Path,
    teacher: Bundle | Path | None,
    options: Options,
    dataset: Dataset | None = None,
    digest: str | None = None,
) -> Trained:
    """Distill the recipe's student from a teacher and write the bundle `run/student`.

    `teacher` is a bundle or its path; None means `run/teacher`, if the method has a teacher.
    `dataset` and `digest` (of the inputs) save their computation if the caller has them.

    Raises:
        BundleError: there is no teacher, or it does not fit the recipe.
        InputError: a teacher is given for a method without one, or another process has another.
    """
    start = perf_counter()
    method = recipe.distillation.method
    check_target(run / "student")
    context = options.training_context(recipe.training.student)
    if method == "cross_entropy" and teacher is not None:
        raise InputError(
            "The method cross_entropy has no teacher.",
            got=f"--teacher {teacher.path if isinstance(teacher, Bundle) else teacher}",
            hint="leave --teacher out, or type --set distillation.method=erde",
            expected="a method with a teacher: kd or erde",
        )
    loaded = None
    if method != "cross_entropy":
        loaded = load_teacher(recipe, teacher or run / "teacher")
        same = {"--teacher": f"weights {loaded.document.weights_digest[:12]}"}
        options.engine.require_agreement(same, hint="name the same teacher on every rank")
    dataset = dataset or open_for_training(recipe, options)
    with options.engine.first():
        check_weights(recipe, "student", dataset)
    if loaded is None:
        options.observer.phase("Training the student without a teacher")
    else:
        options.observer.phase(f"Distilling the student by {method}")
        check_splits(loaded, dataset)
    weights = loaded.document.weights_digest if loaded else None
    digest = digest or inputs_digest(recipe, "student", dataset.fingerprint, weights)
    task = _Task("student", recipe, digest, run)
    return _train(task, dataset, loaded, context, options, start)


@dataclass(frozen=True)
class _Task:
    role: Role
    recipe: Recipe
    inputs_digest: str
    run: Path


def drop_checkpoints(bundle: Path) -> None:
    """Delete checkpoints of a finished training, in case its process was killed before it could.

    Args:
        bundle: folder of the finished bundle, in the run folder.
    """
    Checkpoints(bundle.parent / _CHECKPOINTS / bundle.name, "").clear()


def checkpoint_folder(run: Path, role: Role) -> Path:
    """Folder of the checkpoints of an unfinished training."""
    return run / _CHECKPOINTS / role


def _train(
    task: _Task,
    dataset: Dataset,
    teacher: Bundle | None,
    context: Context,
    options: Options,
    start: float,
) -> Trained:
    size = task.recipe.image_size(task.role)
    with options.engine.first():  # it decodes, at every size
        train, calibration = load_for_training(dataset, task.recipe, options)
        tuning_images = _tuning_images(dataset, size, options)
        whole = tuning_images
        if teacher is not None:
            whole = _tuning_images(dataset, teacher.image_size, options)
    logits = right = None
    if teacher is not None:
        right = teacher_correct(teacher, task.recipe, whole, context)
        logits = partial(
            teacher_logits, teacher, task.recipe, dataset.fingerprint, context, options
        )
    prepared = prepare(task.recipe, task.role, dataset, train, context, logits)
    model, normalisation = prepared.network, prepared.normalisation
    if (first := prepared.first_weights) is not None:
        network = task.recipe.network_of(task.role)
        for message in first.notes(network, task.recipe.data, dataset.class_names):
            options.observer.note(message)
    warn_of_useless_exits(profile_model(model, size), options)
    options.observer.note(
        f"{len(prepared.batches.numbers):,} train and {len(calibration):,} calibration images, "
        f"{len(dataset.class_names)} classes; {_shrinking(task.recipe, size)}"
        f"{context.device.type}, {context.precision}, "
        f"{context.layout}, {_workers(context)}"
    )
    batches, answer = _inputs(task, prepared, dataset.fingerprint, tuning_images, options)
    epochs = Epochs(
        prepared.settings, batches, prepared.objective, prepared.seed, context, answer, right
    )
    checkpoints = Checkpoints(checkpoint_folder(task.run, task.role), task.inputs_digest)
    recorder = TrainingRecorder(
        task.run / "logs" / task.role, checkpoints, context, task.recipe.recorded(),
        options.observer, resume=options.resume,
    )  # fmt: skip
    note = partial(_note_almost_kd, recipe=task.recipe, options=options)
    speed = train_epochs(prepared.state, epochs, recorder, note, options.observer, task.role)
    origin = Origin(task.role, task.recipe, task.inputs_digest, context, first)
    path, images = task.run / task.role, Images.of(dataset, normalisation)
    with options.engine.first():
        if options.engine.leads:
            bundle = save_bundle(path, model, prepared.architecture, images, origin)
        else:
            bundle = load_bundle(path)
    recorder.finish()
    options.observer.artifact(bundle.path, "bundle")
    inference = options.inference_context("float32")
    answers = answer_all(ready(bundle.model, inference), tuning_images, normalisation, inference)
    seconds = perf_counter() - start
    data = summarise(dataset).to_json()
    return Trained(bundle, prepared.settings.epochs, speed, answers.accuracy, seconds, data)


def _tuning_images(dataset: Dataset, size: int, options: Options) -> ImageStore:
    """Images that are evaluated after every epoch, with sides of `size` pixels."""
    calibration = load_split(dataset.at(size), "calibration", options)
    return calibration.only(tuning_half(len(calibration), dataset.fingerprint))


def _shrinking(recipe: Recipe, size: int) -> str:
    """How the images of a network become smaller than those of the recipe, for a note."""
    whole = recipe.data.image_size
    return "" if size == whole else f"{size} x {size} pixels, shrunk from {whole} x {whole}; "


def _workers(context: Context) -> str:
    """Processes and threads of a training, for a note."""
    threads = counted(context.threads, "thread")
    several = context.engine.world_size
    return threads if several == 1 else f"{several} processes, {threads} each"


def _inputs(
    task: _Task, prepared: Prepared, fingerprint: str, tuning_images: ImageStore, options: Options
) -> tuple[Batches, Callable[[EarlyExitNet], Answers]]:
    """The batches to train on, and the function that evaluates the network after every epoch."""
    if prepared.split is not None:
        return kept_features(prepared, task.recipe, task.role, fingerprint, tuning_images, options)
    answer = partial(
        answer_all, store=tuning_images, normalisation=prepared.normalisation,
        context=prepared.context,
    )  # fmt: skip
    return prepared.batches, answer


def _note_almost_kd(record: EpochRecord, recipe: Recipe, options: Options) -> None:
    early = record.metrics.get("teacher_wrong", [])[:-1]
    if recipe.distillation.method == "erde" and early and max(early) < _ALMOST_KD:
        options.observer.note(
            "The teacher is wrong on under 1 % of the train images at every early exit, so erde "
            "is almost the same as kd."
        )
