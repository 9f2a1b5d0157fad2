"""Training of some parts of a network: the others keep every bit, and so does a resume."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batch, Batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import StoreViews
from erde_cli.core.device import Context, make_context
from erde_cli.core.events import Observer
from erde_cli.core.inference.answers import Answers, answer_all
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.parts import last_linear, new_parts, pretrained_stages
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.loop import EpochRecord, Epochs, train_epoch, train_step
from erde_cli.core.training.losses import label_terms
from erde_cli.core.training.objectives import SumOfTerms
from erde_cli.core.training.state import TrainState
from tests.core.models.library.small import make, with_exits

# Dropout in the blocks; a norm in the last head, which belongs to the last stage.
ARCHITECTURE = Architecture("wrn", 10, 4, (1, 2), "erde", 4, 8, dropout=0.25)
PIXELS = Normalisation((0.5,) * 3, (0.25,) * 3)
STEPS = 4
OPTIMIZERS = pytest.mark.parametrize("optimizer", ["sgd", "adamw"])


def settings_of(optimizer: str = "sgd", **changes: Any) -> Training:
    rate = 0.05 if optimizer == "sgd" else 0.005
    rest = {"epochs": 3, "batch_size": 16, "learning_rate": rate, "warmup_epochs": 0, **changes}
    return Training.model_validate({"optimizer": optimizer, **rest})


def fresh(settings: Training, *, last_kept: bool = False) -> TrainState:
    model = build_model(ARCHITECTURE, 1)
    return TrainState(model, settings, pretrained_stages(model, last_kept=last_kept))


def context() -> Context:
    return make_context("cpu", "float32", 1, "channels_last")


def store() -> ImageStore:
    """Four classes that differ in brightness."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(16 * STEPS + 8) % 4
    noise = torch.randint(0, 40, (len(labels), 8, 8, 3), generator=generator)
    images = (labels[:, None, None, None] * 60 + noise).to(torch.uint8)
    return ImageStore(images, labels, np.arange(len(labels)))


def batches_of(settings: Training) -> Batches:
    views = StoreViews(store(), AugmentationPlan(1, flip=True, cutout=0))
    return Batches(views, PIXELS, settings.batch_size, 5, context())


class _StopError(Exception):
    pass


def epochs(
    state: TrainState, count: int, settings: Training, stop: int | None = None
) -> list[EpochRecord]:
    """Train some epochs; raise an exception after step `stop` of the training."""

    def evaluate(model: EarlyExitNet) -> Answers:
        return answer_all(model, store(), PIXELS, context())

    def after_step(state: TrainState) -> None:
        if state.step == stop:
            raise _StopError

    context().place(state.model)
    objective = SumOfTerms(label_terms(), torch.ones(3))
    plan = Epochs(settings, batches_of(settings), objective, 5, context(), evaluate)
    return [train_epoch(state, plan, Observer(), after_step) for _ in range(count)]


def kept(state: TrainState) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.model.state_dict().items()}


def changed(before: dict[str, Tensor], state: TrainState) -> set[str]:
    """Names of the weights and running statistics that are not as before."""
    now = state.model.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, now[name])}


def named(before: dict[str, Tensor], *prefixes: str) -> set[str]:
    return {name for name in before if name.startswith(prefixes)}


@OPTIMIZERS
@pytest.mark.parametrize("first", [1, 2])
def test_frozen_stages_keep_weights_and_statistics_and_all_else_is_trained(
    first: int, optimizer: str
) -> None:
    settings = settings_of(optimizer, train={"from": first})
    state = fresh(settings)
    before = kept(state)
    epochs(state, 2, settings)
    frozen = named(before, *(f"stages.{stage}." for stage in range(first)))
    assert frozen
    assert changed(before, state) == set(before) - frozen


def test_a_frozen_stage_answers_as_in_evaluation_and_has_no_gradients() -> None:
    settings = settings_of(train={"from": 2})
    state = fresh(settings)
    context().place(state.model)
    state.begin_epoch(0)
    outputs: list[Tensor] = []
    for stage in state.model.stages:
        stage.register_forward_hook(lambda *given: outputs.append(given[-1]))
    batch = next(iter(batches_of(settings).epoch(0)))
    train_step(state, batch, SumOfTerms(label_terms(), torch.ones(3)), settings, 0.1, context())
    assert [output.requires_grad for output in outputs] == [False, False, True]
    assert all(p.grad is None for stage in state.model.stages[:2] for p in stage.parameters())
    trained = [*state.model.stages[2].parameters(), *state.model.heads.parameters()]
    assert all(p.grad is not None for p in trained)
    modes = [{m.training for m in stage.modules()} for stage in state.model.stages]
    assert modes == [{False}, {False}, {True}]
    assert {m.training for m in state.model.heads.modules()} == {True}


def test_dropout_in_a_frozen_stage_is_off() -> None:
    state = fresh(settings_of(train={"from": 1}))
    state.begin_epoch(0)
    images = torch.randn(2, 3, 8, 8)
    frozen, trained = state.model.stages[:2]
    assert torch.equal(frozen(images), frozen(images))
    assert torch.equal(frozen(images), copy.deepcopy(frozen).eval()(images))
    assert not torch.equal(trained(frozen(images)), trained(frozen(images)))


@OPTIMIZERS
@pytest.mark.parametrize("last_kept", [False, True])
def test_heads_are_trained_first_and_the_rest_from_the_next_epoch_on(
    last_kept: bool, optimizer: str
) -> None:
    settings = settings_of(optimizer, heads_first=1)
    state = fresh(settings, last_kept=last_kept)
    before = kept(state)
    epochs(state, 1, settings)
    new = named(before, "heads.0.", "heads.1.", *(() if last_kept else ("heads.2.4.",)))
    assert changed(before, state) == new
    epochs(state, 1, settings)
    assert changed(before, state) == set(before)
    steps = {int(values.get("step", STEPS)) for values in state.optimizer.state.values()}
    assert steps == ({STEPS} if optimizer == "sgd" else {STEPS, 2 * STEPS})


def test_what_is_frozen_stays_frozen_after_the_heads_were_trained_first() -> None:
    settings = settings_of(train={"from": 1}, heads_first=1)
    state = fresh(settings)
    before = kept(state)
    epochs(state, 2, settings)
    assert changed(before, state) == set(before) - named(before, "stages.0.")


def test_weights_that_a_network_fixes_itself_are_not_thawed() -> None:
    model = build_model(ARCHITECTURE, 1)
    fixed = next(model.stages[1].parameters()).requires_grad_(False)
    state = TrainState(model, settings_of(heads_first=1), pretrained_stages(model))
    state.begin_epoch(0)
    state.begin_epoch(1)
    assert not fixed.requires_grad
    assert all(p.requires_grad for p in model.parameters() if p is not fixed)


@OPTIMIZERS
@pytest.mark.parametrize("stop", [2, STEPS, STEPS + 1, 2 * STEPS - 1])
def test_a_training_of_parts_goes_on_after_any_step_as_if_it_had_not_stopped(
    stop: int, optimizer: str
) -> None:
    """Before, at and after the boundary at which the pretrained parts begin."""
    settings = settings_of(optimizer, train={"from": 1}, heads_first=1, stage_rates=[1, 0.1, 0.5])
    straight, stopped, later = (fresh(settings) for _ in range(3))
    whole = epochs(straight, 3, settings)
    with pytest.raises(_StopError):
        epochs(stopped, 3, settings, stop)
    later.load_state_dict(copy.deepcopy(stopped.state_dict()))
    rest = epochs(later, 3 - later.epoch, settings)
    assert changed(kept(straight), later) == set()
    assert [r.metrics for r in rest] == [r.metrics for r in whole[-len(rest) :]]


def test_a_training_of_parts_goes_on_after_an_epoch_as_if_it_had_not_stopped() -> None:
    settings = settings_of("adamw", heads_first=1)
    straight, stopped, later = (fresh(settings) for _ in range(3))
    epochs(straight, 3, settings)
    epochs(stopped, 1, settings)
    later.load_state_dict(copy.deepcopy(stopped.state_dict()))
    epochs(later, 2, settings)
    assert changed(kept(straight), later) == set()


def moved_in_a_step(settings: Training) -> dict[str, Tensor]:
    """By how much the first step moves each parameter."""
    state = fresh(settings)
    context().place(state.model)
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    state.begin_epoch(0)
    batch = next(iter(batches_of(settings).epoch(0)))
    torch.manual_seed(0)
    train_step(state, batch, SumOfTerms(label_terms(), torch.ones(3)), settings, 0.1, context())
    return {name: p.detach() - before[name] for name, p in state.model.named_parameters()}


def test_each_stage_has_its_share_of_the_rate_and_new_parts_have_all_of_it() -> None:
    plain = {"momentum": 0.0, "gradient_clipping": None}
    one = moved_in_a_step(settings_of(**plain))
    other = moved_in_a_step(settings_of(**plain, stage_rates=[0.25, 0.5, 0.125]))
    shares = {"stages.0.": 0.25, "stages.1.": 0.5, "stages.2.": 0.125}
    shares |= {"heads.0.": 1, "heads.1.": 1, "heads.2.0.": 0.125, "heads.2.4.": 1}
    for prefix, share in shares.items():
        names = named(one, prefix)
        assert names
        for name in names:
            torch.testing.assert_close(other[name], share * one[name], rtol=1e-3, atol=1e-7)


def test_the_rate_that_is_logged_is_that_of_new_parts() -> None:
    settings = settings_of(stage_rates=[0.25, 0.5, 0.25])
    state = fresh(settings)
    [record] = epochs(state, 1, settings)
    [other] = epochs(fresh(settings_of()), 1, settings_of())
    rate = record.metrics["learning_rate"]
    assert rate == other.metrics["learning_rate"] > 0
    groups = state.optimizer.param_groups
    assert [group["lr"] / rate for group in groups] == [0.25, 0.25, 0.5, 0.5, 1, 1]
    assert [group["weight_decay"] for group in groups] == [5e-4, 0] * 3
    trained = [parameter for group in groups for parameter in group["params"]]
    assert len(trained) == len(set(trained)) == len(list(state.model.parameters()))


class _Infinite:
    """A loss that is not finite."""

    def __call__(self, logits: Tensor, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return logits.sum() * float("nan"), {}


@OPTIMIZERS
@pytest.mark.parametrize("clipping", [None, 1.0])
def test_a_skipped_step_of_the_heads_alone_leaves_no_trace(
    clipping: float | None, optimizer: str
) -> None:
    settings = settings_of(optimizer, heads_first=1, gradient_clipping=clipping)
    state = fresh(settings)
    context().place(state.model)
    before, saved = kept(state), copy.deepcopy(state.optimizer.state_dict()["state"])
    state.begin_epoch(0)
    for batch in batches_of(settings).epoch(0):
        assert not train_step(state, batch, _Infinite(), settings, 0.1, context()).taken
    assert changed(before, state) == set()
    for number, values in state.optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, saved[number][key]) for key, value in values.items())


@pytest.mark.parametrize(
    ("name", "before_last"),
    [("densenet", "BatchNorm2d"), ("mobilenet_v3_small", "Linear"), ("vit", "LayerNorm")],
)
def test_the_layers_before_the_last_one_belong_to_the_last_stage(
    name: str, before_last: str
) -> None:
    model = with_exits(make(name), [1, 2])
    stages = pretrained_stages(model)
    with_weights = [m for m in model.heads[-1].modules() if [*m.parameters(recurse=False)]]
    *others, last = with_weights
    assert last is last_linear(model)
    assert [type(module).__name__ for module in others] == [before_last]
    assert {stages.get(module) for module in others} == {2}
    assert last not in stages
    assert pretrained_stages(model, last_kept=True)[last] == 2
    new = {p for part in new_parts(model) for p in part.parameters()}
    old = {p for module in stages for p in module.parameters(recurse=False)}
    assert new | old == set(model.parameters())
    assert not new & old


def test_a_training_without_pretrained_weights_trains_everything() -> None:
    model = nn.Module()
    model.head = nn.Linear(2, 3)
    state = TrainState(model, settings_of(train="heads"))  # type: ignore[arg-type]
    state.begin_epoch(0)
    assert state.rate_factors == [1, 1]
    assert all(p.requires_grad for p in model.parameters())
