"""How long the trainings of a run take, from a few steps of networks that are thrown away."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from erde_cli.core.calibration.halves import tuning_half
from erde_cli.core.data.batches import Batches
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.events import Role
from erde_cli.core.inference.answers import ready
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.profile import Profile, profile_model
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.storage.json_files import Json
from erde_cli.core.training.checkpoints import Checkpoints
from erde_cli.core.training.teacher_logits import ComputedLogits
from erde_cli.core.workflows.images import load_for_training
from erde_cli.core.workflows.kept import Networks
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.prepared import Logits, Prepared, network_of, prepare, settings_of
from erde_cli.core.workflows.step_times import (
    seconds_of_logits,
    seconds_per_answer,
    seconds_per_step,
)
from erde_cli.core.workflows.train import checkpoint_folder

# Seconds that hardly depend on images and networks, on one core of 2024: beginning a training and
# writing its bundle, and the logs and the checkpoint of an epoch.
_TRAINING, _EPOCH = 0.3, 0.02


@dataclass(frozen=True)
class PlannedTraining:
    """One network: what it costs and how long it trains.

    epochs_left: fewer than `epochs` where a training was stopped, none where the network is kept
    from an earlier run. seconds_per_epoch: None where it is kept.
    """

    profile: Profile
    epochs: int
    epochs_left: float
    steps_per_epoch: int
    seconds_per_epoch: float | None

    @property
    def kept(self) -> bool:
        """Whether an earlier run trained it."""
        return self.seconds_per_epoch is None

    @property
    def seconds(self) -> float:
        """Seconds of the training, or of what is left of it."""
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


@dataclass(frozen=True)
class Measured:
    """What is measured for a plan, on the recipe's own images.

    kept: phases of an earlier run that hold.
    """

    networks: Networks
    options: Options
    kept: list[str]

    @property
    def recipe(self) -> Recipe:
        """What is planned."""
        return self.networks.recipe

    @property
    def dataset(self) -> Dataset:
        """The recipe's images."""
        return self.networks.dataset

    @cached_property
    def _stores(self) -> tuple[ImageStore, ImageStore]:
        return load_for_training(self.dataset, self.options)

    def training(self, role: Role) -> PlannedTraining:
        """How long one network trains."""
        settings, size = settings_of(self.recipe, role), self.recipe.data.image_size
        profile = profile_model(self._models[role], size)
        images = len(self.dataset.splits["train"])
        steps = images // min(settings.batch_size, images)
        if role in self.kept:
            return PlannedTraining(profile, settings.epochs, 0.0, steps, None)
        seconds = self._seconds_per_epoch(role, settings, steps)
        left = settings.epochs - self._epochs_done(role, steps)
        return PlannedTraining(profile, settings.epochs, left, steps, seconds)

    def seconds_per_answer(self, role: Role) -> float:
        """Seconds per image in which a finished network answers."""
        context = self.options.inference_context("float32")
        _, calibration = self._stores
        network = ready(self._models[role], context)
        return seconds_per_answer(network, calibration, _ANY, context)

    def _seconds_per_epoch(self, role: Role, settings: Training, steps: int) -> float:
        made, teacher = self._prepared(role)
        step = seconds_per_step(made)
        views = self.recipe.distillation.teacher_cache.views
        if teacher is not None and views is not None:
            asked = min(1.0, views / settings.epochs)  # in this share of the epochs
            step -= (1 - asked) * seconds_of_logits(teacher, made.batches)
        _, calibration = self._stores
        seen = calibration.only(tuning_half(len(calibration), self.dataset.fingerprint))
        look = seconds_per_answer(made.state.model, seen, made.normalisation, made.context)
        return _EPOCH + steps * step + len(seen) * look

    def _prepared(self, role: Role) -> tuple[Prepared, Logits | None]:
        """A network ready to train, and the teacher that it asks."""
        recipe = _uncompiled(self.recipe)
        context = self.options.training_context(settings_of(recipe, role))
        train, _ = self._stores
        if role == "teacher" or recipe.distillation.method == "cross_entropy":
            return prepare(recipe, role, self.dataset, train, context, None, _ANY), None
        teacher = ComputedLogits(self._models["teacher"], context)

        def asked(batches: Batches, seed: int) -> Logits:
            del batches, seed
            return teacher

        return prepare(recipe, role, self.dataset, train, context, asked, _ANY), teacher

    @cached_property
    def _models(self) -> dict[Role, EarlyExitNet]:
        """The recipe's networks with some weights; whoever computes with one copies it."""
        classes, size = len(self.dataset.class_names), self.recipe.data.image_size
        return {
            role: build_model(resolve_architecture(network_of(self.recipe, role), classes, size))
            for role in ROLES
        }

    def _epochs_done(self, role: Role, steps: int) -> float:
        """Epochs of a training that was stopped."""
        digest = self.networks.digest(role)
        if digest is None:
            return 0.0
        saved = Checkpoints(checkpoint_folder(self.networks.run, role), digest).latest(
            lambda _: None
        )
        return 0.0 if saved is None else float(saved.state["step"]) / steps


def _uncompiled(recipe: Recipe) -> Recipe:
    """The recipe without torch.compile, which takes longer than what is measured."""
    training = recipe.training
    update = {
        "teacher": training.teacher.model_copy(update={"compile": False}),
        "student": training.student.model_copy(update={"compile": False}),
    }
    return recipe.model_copy(update={"training": training.model_copy(update=update)})


_ANY = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))  # takes as long as the right one
