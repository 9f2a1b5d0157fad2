"""Estimate training times of a run from a few steps of temporary networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from erde_cli.core.calibration.halves import tuning_half
from erde_cli.core.data.store import ImageStore
from erde_cli.core.events import Role
from erde_cli.core.inference.answers import ready
from erde_cli.core.models.architecture import build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.profile import Profile, profile_model
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.storage.json_files import Json
from erde_cli.core.training.checkpoints import Checkpoints
from erde_cli.core.training.teacher_logits import ComputedLogits
from erde_cli.core.workflows.images import load_for_training, load_split
from erde_cli.core.workflows.kept import Networks
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.prepared import (
    Logits,
    Prepared,
    architecture_of,
    prepare,
)
from erde_cli.core.workflows.step_times import (
    NORMALISATION,
    seconds_of_logits,
    seconds_per_answer,
    seconds_per_step,
)
from erde_cli.core.workflows.train import checkpoint_folder

# Seconds on one core of 2024, nearly independent of images and networks: start of a training and
# its bundle; logs and checkpoint of an epoch.
_TRAINING, _EPOCH = 0.3, 0.02


@dataclass(frozen=True)
class PlannedTraining:
    """Cost of one network and the duration of its training.

    epochs_left: fewer than `epochs` for a stopped training, 0 for a network that is kept from an
    earlier run. seconds_per_epoch: None for a kept network.
    """

    profile: Profile
    epochs: int
    epochs_left: float
    steps_per_epoch: int
    seconds_per_epoch: float | None

    @property
    def kept(self) -> bool:
        """Whether the network is kept from an earlier run."""
        return self.seconds_per_epoch is None

    @property
    def seconds(self) -> float:
        """Seconds of the remaining training."""
        if self.seconds_per_epoch is None:
            return 0.0
        return _TRAINING + self.epochs_left * self.seconds_per_epoch

    def to_json(self) -> Json:
        """One network in the object that `--json` prints."""
        return {
            "profile": self.profile.to_json(None),
            "epochs": self.epochs,
            "epochs_left": self.epochs_left,
            "steps_per_epoch": self.steps_per_epoch,
            "seconds_per_epoch": self.seconds_per_epoch,
            "seconds": self.seconds,
            "kept": self.kept,
        }


class PlanMeasurements:
    """Measurements for a plan, on the recipe's images; `kept` lists phases that stay valid."""

    def __init__(self, networks: Networks, options: Options, kept: list[str]) -> None:
        self.networks, self.options, self.kept = networks, options, kept
        self.recipe, self.dataset = networks.recipe, networks.dataset

    def training(self, role: Role) -> PlannedTraining:
        """Duration of one training."""
        settings, size = self.recipe.training_of(role), self.recipe.image_size(role)
        profile = profile_model(self._models[role], size)
        images = len(self.dataset.splits["train"])
        steps = images // min(settings.batch_size, images)
        if role in self.kept:
            return PlannedTraining(profile, settings.epochs, 0.0, steps, None)
        seconds = self._seconds_per_epoch(role, settings, steps)
        left = settings.epochs - self._epochs_done(role, steps)
        return PlannedTraining(profile, settings.epochs, left, steps, seconds)

    def answer_seconds(self, role: Role) -> float:
        """Seconds per image to run a trained network through every exit."""
        context = self.options.inference_context("float32")
        network = ready(self._models[role], context)
        return seconds_per_answer(network, self._calibration(role), NORMALISATION, context)

    def _seconds_per_epoch(self, role: Role, settings: Training, steps: int) -> float:
        prepared, teacher = self._prepared(role)
        step = seconds_per_step(prepared)
        views = self.recipe.distillation.teacher_cache.views
        if teacher is not None and views is not None:
            share = min(1.0, views / settings.epochs)  # of the epochs in which the teacher runs
            step -= (1 - share) * seconds_of_logits(teacher, prepared.batches)
        calibration = self._calibration(role)
        images = calibration.only(tuning_half(len(calibration), self.dataset.fingerprint))
        model, context = prepared.state.model, prepared.context
        answer = seconds_per_answer(model, images, prepared.normalisation, context)
        return _EPOCH + steps * step + len(images) * answer

    def _calibration(self, role: Role) -> ImageStore:
        """Calibration images at the size of a network."""
        dataset = self.dataset.at(self.recipe.image_size(role), self.options.observer)
        return load_split(dataset, "calibration", self.options)

    def _prepared(self, role: Role) -> tuple[Prepared, Logits | None]:
        """A network ready to train, and its teacher's logits."""
        recipe = _uncompiled(self.recipe)
        context = self.options.training_context(recipe.training_of(role))
        train, _ = load_for_training(self.dataset, self.options)
        if role == "teacher" or recipe.distillation.method == "cross_entropy":
            prepared = prepare(recipe, role, self.dataset, train, context, None, NORMALISATION)
            return prepared, None
        teacher = ComputedLogits(self._models["teacher"], context)
        prepared = prepare(
            recipe, role, self.dataset, train, context, lambda *_: teacher, NORMALISATION
        )
        return prepared, teacher

    @cached_property
    def _models(self) -> dict[Role, EarlyExitNet]:
        """The recipe's networks with random weights; users copy them before running them."""
        classes = len(self.dataset.class_names)
        return {role: build_model(architecture_of(self.recipe, role, classes)) for role in ROLES}

    def _epochs_done(self, role: Role, steps: int) -> float:
        """Finished epochs of a stopped training."""
        digest = self.networks.digest(role)
        if digest is None:
            return 0.0
        checkpoints = Checkpoints(checkpoint_folder(self.networks.run, role), digest)
        saved = checkpoints.latest(lambda _: None)
        return 0.0 if saved is None else float(saved.state["step"]) / steps


def _uncompiled(recipe: Recipe) -> Recipe:
    """The recipe without torch.compile, which takes longer than the measurement."""
    training = recipe.training
    update = {
        "teacher": training.teacher.model_copy(update={"compile": False}),
        "student": training.student.model_copy(update={"compile": False}),
    }
    return recipe.model_copy(update={"training": training.model_copy(update=update)})
