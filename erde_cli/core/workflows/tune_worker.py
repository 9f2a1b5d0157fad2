"""Worker process of `erde tune`: trains one candidate on request."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from time import perf_counter
from typing import IO, Any

import numpy as np
import torch

from erde_cli.core.data.batches import Batch
from erde_cli.core.data.normalisation import Normaliser
from erde_cli.core.data.shrinking import shrunk
from erde_cli.core.device import Context, make_context, require_compiler
from erde_cli.core.errors import ErdeError
from erde_cli.core.events import Role
from erde_cli.core.measurement.training_speed import Candidate
from erde_cli.core.models.architecture import build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.platform.allocator import keep_freed_memory
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.storage.json_files import Json
from erde_cli.core.training.loop import Objective, train_step
from erde_cli.core.training.teacher_logits import ComputedLogits
from erde_cli.core.workflows.prepared import (
    Logits,
    architecture_of,
    objective_of,
    train_state,
)
from erde_cli.core.workflows.step_times import NORMALISATION, RATE

Run = Callable[[int], float]  # steps → images per second


def request(recipe: Recipe, role: Role, device: str, classes: int, candidate: Candidate) -> Json:
    """The first message to a worker, as JSON."""
    return {
        "recipe": recipe.model_dump(mode="json"),
        "role": role,
        "device": device,
        "classes": classes,
        "candidate": asdict(candidate),
    }


def serve() -> None:
    """Answer requests on stdin until it ends; output of libraries goes to stderr."""
    keep_freed_memory()  # as in a real training
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        answer_requests(sys.stdin, answers)


def answer_requests(requests: Iterable[str], answers: IO[str]) -> None:
    """Read the first message, then numbers of steps; write a line of JSON for each number."""
    lines = iter(requests)
    first_message = json.loads(next(lines))
    run: Run | None = None
    for line in lines:
        try:
            run = run or training(first_message)
            answer: dict[str, Any] = {"images_per_second": run(json.loads(line)["steps"])}
        except ErdeError as error:
            answer = {"failed": error.message}
        except RuntimeError as error:
            answer = {"failed": str(error).splitlines()[0]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def training(message: Json) -> Run:
    """Prepare a candidate; the result trains it on one batch repeatedly.

    Args:
        message: as `request` makes it.
    """
    recipe, candidate = Recipe.model_validate(message["recipe"]), Candidate(**message["candidate"])
    role, classes = message["role"], message["classes"]
    context = make_context(
        message["device"], candidate.precision, candidate.threads, candidate.memory_format
    ).apply()
    if candidate.compile:
        require_compiler(context.device)
    changes = {key: value for key, value in asdict(candidate).items() if key != "threads"}
    settings = recipe.training_of(role).model_copy(update=changes)
    model = _network(recipe, role, classes)
    batch = _random_batch(recipe, role, settings.batch_size, classes, context)
    context.place(model)
    objective = _objective(recipe, role, batch, classes, context)
    state = train_state(model, recipe.network_of(role), settings)
    state.begin_epoch(settings.epochs - 1)  # trains all that is ever trained

    def run(steps: int) -> float:
        start = perf_counter()
        for _ in range(steps):
            loss = train_step(state, batch, objective, settings, RATE, context).loss
            state.step += 1
        float(loss)  # waits for the device
        return steps * len(batch.labels) / (perf_counter() - start)

    return run


def _network(recipe: Recipe, role: Role, classes: int) -> EarlyExitNet:
    return build_model(architecture_of(recipe, role, classes), recipe.seed)


def _random_batch(recipe: Recipe, role: Role, count: int, classes: int, context: Context) -> Batch:
    generator = torch.Generator().manual_seed(recipe.seed)
    whole, size = recipe.data.image_size, recipe.image_size(role)
    shape = (count, whole, whole, 3)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(classes, (count,), generator=generator)
    images, labels = context.to_device(images), context.to_device(labels)
    view = Normaliser(NORMALISATION, whole, context)(images)
    if size == whole:
        return Batch(view, labels, np.arange(count))
    small = Normaliser(NORMALISATION, size, context)(shrunk(images, size))
    return Batch(small, labels, np.arange(count), whole=lambda: view)


def _objective(
    recipe: Recipe, role: Role, batch: Batch, classes: int, context: Context
) -> Objective:
    """Objective of the training; a teacher with cached logits runs once, before timing."""
    teacher: Logits | None = None
    if role == "student" and recipe.distillation.method != "cross_entropy":
        teacher = ComputedLogits(_network(recipe, "teacher", classes), context)
        if recipe.kept_views("student") is not None:
            logits = teacher(batch)
            teacher = lambda _: logits  # noqa: E731
    return objective_of(recipe, role, recipe.seed, context, teacher)
