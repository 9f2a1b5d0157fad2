"""Steps that are not finite: no trace of them is left, they are counted, and too many end it."""

import copy
import math
from collections.abc import Callable
from itertools import pairwise
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
from erde_cli.core.device import make_context
from erde_cli.core.errors import TrainingError
from erde_cli.core.events import Observer
from erde_cli.core.inference.answers import Answers
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.guard import MOST_IN_A_ROW
from erde_cli.core.training.loop import EpochRecord, Epochs, train_epoch, train_step
from erde_cli.core.training.losses import label_terms
from erde_cli.core.training.objectives import SumOfTerms
from erde_cli.core.training.state import TrainState

ARCHITECTURE = Architecture("resnet", 8, 4, (1, 2), "erde", 4, 8)
STEPS = 24
PRECISIONS = pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])


def settings_of(
    precision: str = "float32", clipping: float | None = 1.0, optimizer: str = "sgd"
) -> Training:
    return Training(
        epochs=9, batch_size=4, learning_rate=0.05, warmup_epochs=0, precision=precision,
        gradient_clipping=clipping, optimizer=optimizer,
    )  # fmt: skip


def batches_of(settings: Training) -> Batches:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4 * STEPS) % 4
    images = torch.randint(0, 255, (len(labels), 8, 8, 3), generator=generator).to(torch.uint8)
    store = ImageStore(images, labels, np.arange(len(labels)))
    normalisation = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    context = make_context("cpu", settings.precision, 1, "auto")
    plan = AugmentationPlan(1, flip=True, cutout=0)
    return Batches(StoreViews(store, plan), normalisation, settings.batch_size, 0, context)


def fresh(settings: Training) -> TrainState:
    state = TrainState(build_model(ARCHITECTURE, 1), settings)
    if settings.precision == "float16":
        state.scaler = torch.amp.GradScaler("cpu", 2.0**10)
    return state


class Breaks:
    """Trains on labels; at some steps loss, gradients or activations are not finite."""

    def __init__(self, steps: Any, how: str, model: nn.Module) -> None:
        self._labels = SumOfTerms(label_terms(), torch.ones(3))
        self._steps, self._how, self._next = set(steps), how, 0
        if how == "activations":
            first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
            first.register_forward_hook(self._poison)

    def _poison(self, module: nn.Module, given: Any, output: Tensor) -> Tensor:
        broken = torch.is_grad_enabled() and self._next in self._steps
        return output * math.nan if broken else output

    def __call__(self, logits: Tensor, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        self._next = step + 1
        loss, terms = self._labels(logits, batch, step)
        if step in self._steps and self._how == "loss":
            return loss * math.inf, {name: term * math.nan for name, term in terms.items()}
        if step in self._steps and self._how == "constant":  # its gradients are as they were
            return loss + math.inf, terms
        if step in self._steps and self._how == "gradients":  # 0, but its slope is infinite
            return loss + (logits * 0).sum().abs().sqrt(), terms
        return loss, terms


class Recorder(Observer):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, message: str) -> None:
        self.warnings.append(message)


def epoch(
    state: TrainState, settings: Training, objective: Any, observer: Observer | None = None,
    after_step: Callable[[TrainState], object] = lambda state: None,
) -> EpochRecord:  # fmt: skip
    context = make_context("cpu", settings.precision, 1, "auto")
    context.place(state.model)
    answers = Answers(np.ones((1, 3), bool), np.zeros((1, 3)), np.zeros((1, 3), int))

    def look(model: EarlyExitNet) -> Answers:
        return answers

    wanted = Epochs(settings, batches_of(settings), objective, 0, context, look)
    return train_epoch(state, wanted, observer or Observer(), after_step)


def snapshot(state: TrainState) -> list[Tensor]:
    """Weights, running statistics, and the optimiser's state."""
    kept = [value for values in state.optimizer.state.values() for value in values.values()]
    return [value.detach().clone() for value in (*state.model.state_dict().values(), *kept)]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@PRECISIONS
@pytest.mark.parametrize("clipping", [None, 1.0])
@pytest.mark.parametrize("how", ["loss", "constant", "gradients", "activations"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_step_that_is_not_finite_leaves_no_trace(
    optimizer: str, how: str, clipping: float | None, precision: str
) -> None:
    """Nor does it lay its hand on the next: every other step moves the weights."""
    settings = settings_of(precision, clipping, optimizer)
    state = fresh(settings)
    context = make_context("cpu", precision, 1, "auto")
    context.place(state.model)
    state.model.train()
    objective = Breaks({0, 3, 4}, how, state.model)
    states = [snapshot(state)]
    for batch in batches_of(settings).epoch(0, 0):
        taken = train_step(state, batch, objective, settings, 0.05, context).taken
        assert bool(taken) == (state.step not in {0, 3, 4})
        state.step += 1
        states.append(snapshot(state))
        if state.step == 6:
            break
    kept = [same(one, other) for one, other in pairwise(states)]
    assert kept == [True, False, False, True, True, False]
    assert all(bool(value.isfinite().all()) for value in states[-1])
    assert int(state.guard.in_a_row) == 0
    assert not hasattr(state.optimizer, "found_inf")


@pytest.mark.parametrize("how", ["loss", "gradients", "activations"])
def test_skipped_steps_are_counted_told_and_in_no_mean(how: str) -> None:
    settings, recorder = settings_of(), Recorder()
    state = fresh(settings)
    metrics = epoch(state, settings, Breaks({2, 15}, how, state.model), recorder).metrics
    assert metrics["skipped_steps"] == 2
    assert metrics["loss"] == pytest.approx(np.mean(metrics["cross_entropy"]), rel=1e-5)
    assert 0.5 < metrics["loss"] < 3  # over the steps that count
    skipped_warnings = [text for text in recorder.warnings if "skipped" in text]
    assert len(skipped_warnings) == 1
    assert skipped_warnings[0].startswith("2 steps of epoch 1 were skipped")
    assert "lower the learning rate" in skipped_warnings[0]


def test_healthy_steps_are_not_skipped() -> None:
    settings, recorder = settings_of(), Recorder()
    state = fresh(settings)
    assert (
        epoch(state, settings, Breaks((), "loss", state.model), recorder).metrics["skipped_steps"]
        == 0
    )
    assert not [text for text in recorder.warnings if "skipped" in text]


@PRECISIONS
def test_too_many_in_a_row_end_the_training_with_rate_and_advice(precision: str) -> None:
    settings = settings_of(precision)
    state = fresh(settings)
    with pytest.raises(TrainingError) as caught:
        epoch(state, settings, Breaks(range(1, 99), "loss", state.model))
    assert "epoch 1, step 24 of 24, learning rate 0.0486" in caught.value.message
    assert "set gradient_clipping" in caught.value.hint
    assert ("bfloat16" in caught.value.hint) == (precision == "float16")
    assert state.step == STEPS
    assert all(bool(value.isfinite().all()) for value in snapshot(state))


def test_one_less_than_too_many_do_not() -> None:
    settings = settings_of()
    state = fresh(settings)
    broken = range(4, 3 + MOST_IN_A_ROW)  # the step after them is the 24th
    record = epoch(state, settings, Breaks(broken, "loss", state.model))
    assert record.metrics["skipped_steps"] == MOST_IN_A_ROW - 1
    assert int(state.guard.in_a_row) == 0


def test_an_epoch_without_a_finite_loss_ends_the_training() -> None:
    settings = settings_of().model_copy(update={"batch_size": 32})  # 3 steps
    state = fresh(settings)
    with pytest.raises(TrainingError, match="All steps of an epoch were skipped"):
        epoch(state, settings, Breaks(range(9), "loss", state.model))


def test_steps_are_counted_on_over_epochs_and_checkpoints() -> None:
    settings = settings_of().model_copy(update={"batch_size": 8})  # 12 steps an epoch
    state = fresh(settings)
    broken = range(8, 99)
    record = epoch(state, settings, Breaks(broken, "gradients", state.model))
    assert record.metrics["skipped_steps"] == 4
    other = fresh(settings)
    other.load_state_dict(copy.deepcopy(state.state_dict()))
    assert int(other.guard.in_a_row) == 4
    epoch(other, settings, Breaks(broken, "gradients", other.model))
    with pytest.raises(TrainingError, match="The last 26 steps") as caught:
        epoch(other, settings, Breaks(broken, "gradients", other.model))
    assert "epoch 3, step 10 of 12" in caught.value.message


def test_skipped_steps_of_an_epoch_are_counted_on_after_a_checkpoint_inside_it() -> None:
    settings = settings_of()

    class StopHereError(Exception):
        pass

    def stop(state: TrainState) -> None:
        if state.step == 13:
            raise StopHereError

    straight, stopped, later = (fresh(settings) for _ in range(3))
    broken = {2, 11, 12, 20}
    whole = epoch(straight, settings, Breaks(broken, "activations", straight.model))
    with pytest.raises(StopHereError):
        epoch(stopped, settings, Breaks(broken, "activations", stopped.model), after_step=stop)
    later.load_state_dict(copy.deepcopy(stopped.state_dict()))
    rest = Breaks(broken, "activations", later.model)
    rest._next = 13
    record = epoch(later, settings, rest)
    assert record.metrics == whole.metrics
    assert record.metrics["skipped_steps"] == 4
    assert same(snapshot(later), snapshot(straight))
