"""Estimate training times of a run from a few steps of temporary networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch

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
from erde_cli.core.training.features import ComputedFeatures
from erde_cli.core.training.teacher_logits import ComputedLogits
from erde_cli.core.training.view_cache import images_per_part
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
    seconds_per_answer,
    seconds_per_run,
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
    earlier run. seconds_per_epoch: None for a kept network. seconds_of_features: to compute what
    the heads read, for all views and the teacher as well, if only the heads are trained; 0 for
    other networks.
    """

    profile: Profile
    epochs: int
    epochs_left: float
    steps_per_epoch: int
    seconds_per_epoch: float | None
    seconds_of_features: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether the network is kept from an earlier run."""
        return self.seconds_per_epoch is None

    @property
    def seconds(self) -> float:
        """Seconds of the remaining training."""
        if self.seconds_per_epoch is None:
            return 0.0
        return _TRAINING + self.seconds_of_features + self.epochs_left * self.seconds_per_epoch

    def to_json(self) -> Json:
        """One network in the object that `--json` prints."""
        features = {"seconds_of_features": self.seconds_of_features}
        return {
            "profile": self.profile.to_json(None),
            "epochs": self.epochs,
            "epochs_left": self.epochs_left,
            "steps_per_epoch": self.steps_per_epoch,
            "seconds_per_epoch": self.seconds_per_epoch,
            "seconds": self.seconds,
            "kept": self.kept,
            **(features if self.seconds_of_features else {}),
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
        left = settings.epochs - self._epochs_done(role, steps)
        if settings.heads_only:
            seconds, features = self._seconds_of_heads(role, steps)
            return PlannedTraining(profile, settings.epochs, left, steps, seconds, features)
        seconds = self._seconds_per_epoch(role, settings, steps)
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
            step -= (1 - share) * seconds_per_run(teacher, prepared.batches)
        images = self._tuning_images(role)
        model, context = prepared.state.model, prepared.context
        answer = seconds_per_answer(model, images, prepared.normalisation, context)
        return _EPOCH + steps * step + len(images) * answer

    def _calibration(self, role: Role) -> ImageStore:
        """Calibration images at the size of a network."""
        dataset = self.dataset.at(self.recipe.image_size(role))
        return load_split(dataset, "calibration", self.options)

    def _tuning_images(self, role: Role) -> ImageStore:
        """Calibration images that are evaluated after every epoch."""
        calibration = self._calibration(role)
        return calibration.only(tuning_half(len(calibration), self.dataset.fingerprint))

    def _seconds_of_heads(self, role: Role, steps: int) -> tuple[float, float]:
        """Seconds of an epoch of heads, and of the features of all views, none of which is kept."""
        prepared, teacher = self._prepared(role)
        assert prepared.split is not None  # noqa: S101 (the recipe trains heads only)
        context, images = prepared.context, prepared.batches
        part = min(len(images.numbers), images_per_part(images))
        views = min(self.recipe.kept_views(role) or 1, prepared.settings.epochs)
        runs: list[Logits] = [ComputedFeatures(prepared.split.frozen, context)]
        runs += [] if teacher is None else [teacher]
        each = sum(seconds_per_run(run, images, part) for run in runs) / part
        rows = context.to_device(torch.zeros(images.batch_size, prepared.split.row))
        heads = replace(prepared, batches=images.with_inputs(lambda *_: rows))
        step = seconds_per_step(heads)
        computed = views * len(images.numbers) + len(self._tuning_images(role))
        return _EPOCH + steps * step, computed * each

    def _prepared(self, role: Role) -> tuple[Prepared, Logits | None]:
        """A network ready to train, and its teacher's logits."""
        recipe = _uncompiled(self.recipe)
        context = self.options.training_context(recipe.training_of(role))
        train, _ = load_for_training(self.dataset, self.recipe, self.options)
        if role == "teacher" or recipe.distillation.method == "cross_entropy":
            prepared = prepare(recipe, role, self.dataset, train, context, None, NORMALISATION)
            return prepared, None
        teacher = ComputedLogits(self._models["teacher"], context)
        given: Logits = teacher
        if recipe.training_of(role).heads_only:  # which see no images
            network = self._models["teacher"]
            shape = (network.exit_count, network.classes)
            given = lambda batch: batch.images.new_zeros(len(batch.labels), *shape)  # noqa: E731
        prepared = prepare(
            recipe, role, self.dataset, train, context, lambda *_: given, NORMALISATION
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
