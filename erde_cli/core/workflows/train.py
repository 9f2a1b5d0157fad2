"""`erde train-teacher` and `erde distill`: from a recipe to a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.bundle.writer import Images, Origin, check_target, save_bundle
from erde_cli.core.calibration.halves import tuning_half
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.summary import summarise
from erde_cli.core.device import Context
from erde_cli.core.errors import InputError
from erde_cli.core.events import Role
from erde_cli.core.inference.answers import answer_all, ready
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.profile import profile_model
from erde_cli.core.recipe.inputs import inputs_digest
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.storage.json_files import Json
from erde_cli.core.training.checkpoints import Checkpoints
from erde_cli.core.training.epochs import TrainingRecorder, train_epochs
from erde_cli.core.training.loop import EpochRecord, Epochs
from erde_cli.core.workflows.images import load_for_training, open_for_training
from erde_cli.core.workflows.options import Options, reported
from erde_cli.core.workflows.prepared import prepare
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
    """A new bundle, what its training took, and which images there were."""

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

    `dataset` is the recipe's, where it is open already; `digest` that of the inputs, where known.
    """
    start = perf_counter()
    check_target(run / "teacher")
    settings = recipe.training.teacher
    context = options.training_context(settings)
    dataset = dataset or open_for_training(recipe, options)
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

    `dataset` is the recipe's, where it is open already; `digest` that of the inputs, where known.

    Raises:
        BundleError: there is no teacher, or it does not fit the recipe.
        InputError: a teacher is named for a method that has none.
    """
    start = perf_counter()
    settings = recipe.training.student
    method = recipe.distillation.method
    check_target(run / "student")
    context = options.training_context(settings)
    taught = None
    if method == "cross_entropy" and teacher is not None:
        raise InputError(
            "The method cross_entropy has no teacher.",
            got=f"--teacher {teacher.path if isinstance(teacher, Bundle) else teacher}",
            hint="leave --teacher out, or type --set distillation.method=erde",
            expected="a method with a teacher: kd or erde",
        )
    if method != "cross_entropy":
        taught = load_teacher(recipe, teacher or run / "teacher")
    dataset = dataset or open_for_training(recipe, options)
    options.observer.phase(
        "Training the student without a teacher" if taught is None
        else f"Distilling the student by {method}"
    )  # fmt: skip
    if taught is not None:
        check_splits(taught, dataset)
    weights = taught.document.weights_digest if taught else None
    digest = digest or inputs_digest(recipe, "student", dataset.fingerprint, weights)

    task = _Task("student", recipe, digest, run)
    return _train(task, dataset, taught, context, options, start)


@dataclass(frozen=True)
class _Task:
    role: Role
    recipe: Recipe
    inputs_digest: str
    run: Path

    @property
    def logs(self) -> Path:
        return self.run / "logs" / self.role

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(checkpoint_folder(self.run, self.role), self.inputs_digest)


def drop_checkpoints(bundle: Path) -> None:
    """Drop the states that a finished bundle came from, if its process was killed before it could.

    Args:
        bundle: its folder in the run.
    """
    Checkpoints(bundle.parent / _CHECKPOINTS / bundle.name, "").clear()


def checkpoint_folder(run: Path, role: Role) -> Path:
    """Where a run keeps the states of a training under way."""
    return run / _CHECKPOINTS / role


def _train(
    task: _Task,
    dataset: Dataset,
    teacher: Bundle | None,
    context: Context,
    options: Options,
    start: float,
) -> Trained:
    train, calibration = load_for_training(dataset, options)
    seen = calibration.only(tuning_half(len(calibration), dataset.fingerprint))
    logits = right = None
    if teacher is not None:
        right = teacher_correct(teacher, task.recipe, seen, context)
        logits = partial(
            teacher_logits, teacher, task.recipe, dataset.fingerprint, context, options
        )
    made = prepare(task.recipe, task.role, dataset, train, context, logits)
    model, normalisation = made.state.model, made.normalisation
    _tell_useless_exits(model, task.recipe.data.image_size, options)
    options.observer.note(
        f"{len(train):,} train and {len(calibration):,} calibration images, "
        f"{len(dataset.class_names)} classes; {context.device.type}, {context.precision}, "
        f"{context.layout}, {context.threads} thread{'' if context.threads == 1 else 's'}"
    )
    look = partial(answer_all, store=seen, normalisation=normalisation, context=context)
    wanted = Epochs(made.settings, made.batches, made.objective, made.seed, context, look, right)
    keeper = TrainingRecorder(
        task.logs, task.checkpoints, context, task.recipe.recorded(), options.observer,
        resume=options.resume,
    )  # fmt: skip
    almost_kd = partial(_tell_almost_kd, recipe=task.recipe, options=options)
    speed = train_epochs(made.state, wanted, keeper, almost_kd, options.observer, task.role)
    origin = Origin(task.role, task.recipe, task.inputs_digest, context)
    path, images = task.run / task.role, Images.of(dataset)
    bundle = save_bundle(path, model, made.architecture, images, origin)
    keeper.finish()
    options.observer.artifact(bundle.path, "bundle")
    inference = options.inference_context("float32")
    answers = answer_all(ready(bundle.model, inference), seen, normalisation, inference)
    seconds = perf_counter() - start
    data = summarise(dataset).to_json()
    return Trained(bundle, made.settings.epochs, speed, answers.accuracy, seconds, data)


def _tell_useless_exits(model: EarlyExitNet, image_size: int, options: Options) -> None:
    profile = profile_model(model, image_size)
    for exit_ in profile.useless_exits:
        options.observer.warning(
            f"Exit {exit_ + 1} of {model.exit_count} saves under 5 % of the full cost; "
            "cut earlier, or leave it out."
        )


def _tell_almost_kd(record: EpochRecord, recipe: Recipe, options: Options) -> None:
    early = record.metrics.get("teacher_wrong", [])[:-1]
    if recipe.distillation.method == "erde" and early and max(early) < _ALMOST_KD:
        options.observer.note(
            "The teacher is wrong on under 1 % of the train images at every early exit: "
            "erde is almost kd here."
        )
