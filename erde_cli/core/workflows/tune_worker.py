"""One candidate of `erde tune`, trained in this process as the other side asks for it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import IO, Any

import numpy as np
import torch

from erde_cli.core.data.batches import Batch
from erde_cli.core.data.normalisation import Normalisation, Normaliser
from erde_cli.core.device import Context, make_context, require_compiler
from erde_cli.core.errors import ErdeError
from erde_cli.core.events import Role
from erde_cli.core.measurement.training_speed import Candidate
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.platform.allocator import keep_freed_memory
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.storage.json_files import Json
from erde_cli.core.training.loop import Objective, train_step
from erde_cli.core.training.state import TrainState
from erde_cli.core.training.teacher_logits import ComputedLogits
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.prepared import Logits, network_of, objective_of, settings_of

_RATE = 1e-6  # hardly moves the weights, so that no candidate ends in infinities
_NORMALISATION = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

Run = Callable[[int], float]  # steps → images per second


def request(recipe: Recipe, role: Role, device: str, classes: int, candidate: Candidate) -> Json:
    """What is sent to a process first, as JSON."""
    return {
        "recipe": recipe.model_dump(mode="json"),
        "role": role,
        "device": device,
        "classes": classes,
        "candidate": asdict(candidate),
    }


def serve() -> None:
    """Answer requests on stdin until it ends; what libraries print is no answer."""
    keep_freed_memory()  # as the command line that trains in earnest
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        answer_requests(sys.stdin, answers)


def answer_requests(requests: Iterable[str], answers: IO[str]) -> None:
    """Read what is to be trained, then numbers of steps; write a line of JSON for each of these."""
    lines = iter(requests)
    asked = json.loads(next(lines))
    run: Run | None = None
    for line in lines:
        try:
            run = run or training(asked)
            said: dict[str, Any] = {"images_per_second": run(json.loads(line)["steps"])}
        except ErdeError as error:
            said = {"failed": error.message}
        except RuntimeError as error:
            said = {"failed": str(error).splitlines()[0]}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


def training(asked: Json) -> Run:
    """Make ready to train on one batch again and again: forward, losses, backward, step."""
    recipe = Recipe.model_validate(asked["recipe"])
    candidate = Candidate(**asked["candidate"])
    options = Options(asked["device"], candidate.threads)
    work = _Work(recipe, asked["role"], asked["classes"], candidate)
    context = make_context(
        options.device, candidate.precision, candidate.threads, candidate.memory_format
    ).apply()
    if candidate.compile:
        require_compiler(context.device)
    settings, model, batch = work.settings, work.network(work.role), work.batch(context)
    context.place(model)
    model.train()
    objective = work.objective(context, batch)
    state = TrainState(model, settings)

    def run(steps: int) -> float:
        start = perf_counter()
        for _ in range(steps):
            loss = train_step(state, batch, objective, settings, _RATE, context).loss
            state.step += 1
        float(loss)  # waits for the device
        return steps * len(batch.labels) / (perf_counter() - start)

    return run


@dataclass(frozen=True)
class _Work:
    """One network of a recipe, trained in the way of a candidate, and random images for it."""

    recipe: Recipe
    role: Role
    classes: int
    candidate: Candidate

    @property
    def settings(self) -> Training:
        """How the network is trained."""
        settings = settings_of(self.recipe, self.role)
        changes = asdict(self.candidate)
        del changes["threads"]
        return settings.model_copy(update=changes)

    def network(self, role: Role) -> EarlyExitNet:
        """Network of either role."""
        network = network_of(self.recipe, role)
        architecture = resolve_architecture(network, self.classes, self.recipe.data.image_size)
        return build_model(architecture, self.recipe.seed)

    def batch(self, context: Context) -> Batch:
        """One batch of random images."""
        generator = torch.Generator().manual_seed(self.recipe.seed)
        size, count = self.recipe.data.image_size, self.settings.batch_size
        shape = (count, size, size, 3)
        images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        labels = torch.randint(self.classes, (count,), generator=generator)
        normalise = Normaliser(_NORMALISATION, size, context)
        images, labels = context.to_device(images), context.to_device(labels)
        return Batch(normalise(images), labels, np.arange(count))

    def objective(self, context: Context, batch: Batch) -> Objective:
        """Objective of this role's training; a teacher whose logits are kept costs nothing."""
        recipe = self.recipe
        teacher: Logits | None = None
        if self.role == "student" and recipe.distillation.method != "cross_entropy":
            teacher = ComputedLogits(self.network("teacher"), context)
            if recipe.distillation.teacher_cache.views is not None:
                kept = teacher(batch)
                teacher = lambda _: kept  # noqa: E731
        return objective_of(recipe, self.role, recipe.seed, context, teacher)
