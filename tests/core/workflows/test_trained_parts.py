"""Trainings, plans and `erde tune` all train the same parts of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from erde_cli.core.data.opening import open_dataset
from erde_cli.core.device import make_context
from erde_cli.core.events import Role
from erde_cli.core.measurement.training_speed import Candidate
from erde_cli.core.models.architecture import build_model
from erde_cli.core.models.parts import last_linear
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.training.loop import train_step
from erde_cli.core.training.state import TrainState
from erde_cli.core.workflows import step_times, tune_worker
from erde_cli.core.workflows.prepared import architecture_of, prepare, train_state

ROLE: Role = "student"
NETWORK = {
    "backbone": "torchvision/mnasnet0_5", "exits": [3, 6], "head": "gap", "weights": "first.pth",
}  # fmt: skip


def recipe(last_layer: str = "new", **training: Any) -> Recipe:
    settings = {"epochs": 3, "batch_size": 4}
    return Recipe.model_validate(
        {
            "name": "parts",
            "data": {"dataset": "digits", "image_size": 32},
            "teacher": NETWORK,
            "student": {**NETWORK, "last_layer": last_layer},
            "distillation": {"method": "cross_entropy"},
            "training": {"teacher": settings, "student": {**settings, **training}},
        }
    )


def state_of(recipe: Recipe) -> TrainState:
    model = build_model(architecture_of(recipe, ROLE, 5))
    return train_state(model, recipe.network_of(ROLE), recipe.training_of(ROLE))


@pytest.mark.parametrize("last_layer", ["new", "kept"])
def test_a_last_layer_that_is_kept_is_pretrained(last_layer: str) -> None:
    made = recipe(last_layer, heads_first=1)
    state = state_of(made)
    state.begin_epoch(0)
    assert last_linear(state.model).weight.requires_grad == (last_layer == "new")
    assert all(p.requires_grad for p in state.model.heads[0].parameters())
    assert not any(p.requires_grad for p in state.model.stages.parameters())
    state.begin_epoch(1)
    assert all(p.requires_grad for p in state.model.parameters())


def test_without_first_weights_everything_is_new() -> None:
    plain = recipe(heads_first=1)
    network = plain.student.model_copy(update={"weights": None})
    model = build_model(architecture_of(plain, ROLE, 5))
    state = train_state(model, network, plain.training.student)
    state.begin_epoch(0)
    assert {module.training for module in state.model.modules()} == {True}
    assert all(p.requires_grad for p in state.model.parameters())


class Steps:
    """Takes real steps, and keeps the state of the last one."""

    state: TrainState

    def __call__(self, state: TrainState, *rest: Any) -> Any:
        self.state = state
        return train_step(state, *rest)


def trains_from_stage_2(state: TrainState) -> None:
    stages = state.model.stages
    assert [{p.grad is not None for p in stage.parameters()} for stage in stages] == [
        {False}, {False}, {True},
    ]  # fmt: skip
    assert [{module.training for module in stage.modules()} for stage in stages] == [
        {False}, {False}, {True},
    ]  # fmt: skip


def test_tune_times_the_parts_that_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps()
    monkeypatch.setattr(tune_worker, "train_step", steps)
    made = recipe(train={"from": 2}, heads_first=1)
    candidate = Candidate("float32", "channels_last", 1)
    assert tune_worker.training(tune_worker.request(made, ROLE, "cpu", 5, candidate))(1) > 0
    trains_from_stage_2(steps.state)


@pytest.mark.usefixtures("short_timings")
def test_a_plan_times_the_parts_that_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps()
    monkeypatch.setattr(step_times, "train_step", steps)
    made = recipe(train={"from": 2}, heads_first=1)
    dataset = open_dataset(made.data)
    train = dataset.load("train").only(np.arange(8))
    context = make_context("cpu", "float32", 1)
    normalisation = step_times.NORMALISATION
    prepared = prepare(made, ROLE, dataset, train, context, None, normalisation)
    assert step_times.seconds_per_step(prepared) > 0
    trains_from_stage_2(steps.state)
