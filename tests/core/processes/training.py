"""Training steps that a test runs in one process, and in each of several."""

from __future__ import annotations

import math
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from erde_cli.core.data.batches import Batch
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.device import make_context
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.processes.engine import ALONE, Engine
from erde_cli.core.processes.environment import place_of_process
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.loop import train_step
from erde_cli.core.training.losses import label_terms
from erde_cli.core.training.objectives import SumOfTerms
from erde_cli.core.training.state import TrainState
from erde_cli.core.training.teacher_logits import ComputedLogits
from erde_cli.core.workflows.prepared import Prepared, prepare

STEPS = 20
RATE = 0.005  # at 0.1 the losses jump, and rounding grows a thousandfold in five steps
BATCH = 48  # images; 1, 2 and 3 processes can share them
_STATISTICS_OF = 96  # images

RESNET = "{backbone: resnet, depth: 8, width: 8, exits: [1, 2], head_dropout: 0}"
VGG = "{backbone: vgg, depth: 8, width: 8, exits: [1, 3], head_dropout: 0}"
WRN = "{backbone: wrn, depth: 10, widening: 1, exits: [1, 2], head: gap}"
AIRBENCH = "{backbone: airbench, depth: 8, width: 8, exits: [2, 4], head_dropout: 0}"


def engine_of_this_process() -> Engine:
    """Connected to the other processes, if there are any."""
    place = place_of_process()
    if place is None:
        return ALONE
    from erde_cli.core.processes.torchrun import Torchrun

    engine = Torchrun(place)
    engine.connect({"python": "the same"}, print)
    return engine


def digest(tensors: dict[str, Tensor]) -> str:
    """Of the bytes of tensors."""
    content = b"".join(
        tensors[name].detach().contiguous().numpy().tobytes() for name in sorted(tensors)
    )
    return sha256(content).hexdigest()


def statistics(model: nn.Module) -> dict[str, Tensor]:
    """Running statistics of the norms."""
    return {name: one for name, one in model.named_buffers() if one.is_floating_point()}


def _norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [one for one in model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]


def _settle(model: nn.Module, images: Tensor) -> None:
    """Give norms the statistics of images, which evaluation mode uses."""
    model.train()
    for norm in _norms(model):
        norm.momentum = None  # the mean over all batches
    with torch.no_grad():
        model(images)
    for norm in _norms(model):
        norm.momentum = 0.1


def _prepared(teacher: str, student: str, engine: Engine, *, distils: bool) -> Prepared:
    """The teacher, or a student with a teacher that nobody has trained."""
    recipe = load_recipe(
        "digits",
        [f"teacher={teacher}", f"student={student}", "data.augmentation.crop=2",
         "training.teacher.precision=float32", "training.student.precision=float32",
         f"training.teacher.batch_size={BATCH}", f"training.student.batch_size={BATCH}"],
    )  # fmt: skip
    context = replace(make_context("cpu", "float32", 1), engine=engine)
    dataset = open_dataset(recipe.data)
    train = dataset.load("train")
    made = prepare(recipe, "teacher", dataset, train, context)
    _settle(made.network, next(made.batches.in_order(0, _STATISTICS_OF)).images)
    if distils:
        logits = ComputedLogits(made.network.eval(), context)
        made = prepare(recipe, "student", dataset, train, context, lambda batches, seed: logits)
        _settle(made.network, next(made.batches.in_order(0, _STATISTICS_OF)).images)
    return made


def steps(teacher: str, student: str, distils: bool, norms_learn: bool) -> dict[str, Any]:
    """Train some steps: losses, terms, and digests of what must be equal on all processes.

    Args:
        teacher: section of the recipe.
        student: section of the recipe.
        distils: whether the student is trained, by erde, and not the teacher.
        norms_learn: whether the norms are in training mode.
    """
    engine = engine_of_this_process()
    made = _prepared(teacher, student, engine, distils=distils)
    state = made.state
    engine.start_alike(state.model, state.step)
    state.begin_epoch(0)
    if not norms_learn:
        for norm in _norms(state.model):
            norm.training = False
    losses, terms, weights, running = [], [], [], []
    for batch in islice(made.batches.epoch(0), STEPS):
        step = train_step(state, batch, made.objective, made.settings, RATE, made.context)
        state.step += 1
        losses.append(float(step.loss))
        terms.append({name: term.tolist() for name, term in step.terms.items()})
        weights.append(digest(dict(state.model.named_parameters())))
        running.append(digest(statistics(state.model)))
    return {"losses": losses, "terms": terms, "weights": weights, "statistics": running}


ARCHITECTURE = Architecture("resnet", 8, 4, (1, 2), "gap", 4, 8)
SETTINGS = Training(epochs=1, batch_size=16, learning_rate=0.05)


def batch_of(rank: int, world_size: int) -> Batch:
    """A process's part of one batch of noise, brighter on later processes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, 3, 8, 8, generator=generator) + torch.arange(16).view(-1, 1, 1, 1) / 8
    own = slice(rank * 16 // world_size, (rank + 1) * 16 // world_size)
    return Batch(images[own], (torch.arange(16) % 4)[own], np.arange(16)[own])


def one_step() -> dict[str, Any]:
    """Running statistics, by name, after one step."""
    engine = engine_of_this_process()
    context = replace(make_context("cpu", "float32", 1), engine=engine)
    state = TrainState(build_model(ARCHITECTURE, 1), SETTINGS)
    state.begin_epoch(0)
    objective = SumOfTerms(label_terms(), torch.ones(3))
    train_step(state, batch_of(engine.rank, engine.world_size), objective, SETTINGS, 0.05, context)
    return {name: one.tolist() for name, one in statistics(state.model).items()}


def one_is_not_finite() -> dict[str, Any]:
    """Three steps; in the second, the loss of rank 1 is NaN.

    Returns:
        Whether this process itself has computed a finite loss, whether the step was taken, and a
        digest of everything that a step changes, [steps] each.
    """
    engine = engine_of_this_process()
    context = replace(make_context("cpu", "float32", 1), engine=engine)
    state = TrainState(build_model(ARCHITECTURE, 1), SETTINGS)
    state.begin_epoch(0)
    plain = SumOfTerms(label_terms(), torch.ones(3))
    seen: list[bool] = []

    def objective(logits: Tensor, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss, terms = plain(logits, batch, step)
        if step == 1 and engine.rank == 1:
            loss = loss * math.nan
        seen.append(bool(torch.isfinite(loss)))
        return loss, terms

    taken, digests = [], []
    for _ in range(3):
        batch = batch_of(engine.rank, engine.world_size)
        step = train_step(state, batch, objective, SETTINGS, 0.05, context)
        state.step += 1
        taken.append(bool(step.taken))
        momentum = {str(n): values["momentum_buffer"] for n, values in enumerate(
            state.optimizer.state.values()
        )}  # fmt: skip
        digests.append(digest({**state.model.state_dict(), **momentum}))
    return {"seen": seen, "taken": taken, "state": digests}
