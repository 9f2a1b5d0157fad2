"""The training loop of teacher and student. The loss comes from an objective.

Everything that changes during training is in `TrainState`. Everything else is a pure function of
the settings, the seed and the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from erde_cli.core.arrays import BoolArray
from erde_cli.core.data.batches import Batch, Batches
from erde_cli.core.device import Context
from erde_cli.core.errors import TrainingError
from erde_cli.core.events import EpochEvent, Observer
from erde_cli.core.inference.answers import Answers
from erde_cli.core.inference.entropy_gap import EntropyGap, entropy_gaps
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.randomness import derive_seed
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.collapse import warn_of_collapsed
from erde_cli.core.training.epoch_log import EpochLog
from erde_cli.core.training.guard import not_finite
from erde_cli.core.training.schedule import learning_rate
from erde_cli.core.training.state import TrainState

_LEAST_SCALE = 2.0**-16  # of gradients in float16; 32 skipped steps below the initial scale
_STEPS_PER_EVENT = 10  # not every step, because reading a loss waits for the device


class Objective(Protocol):
    """The loss of a network."""

    def __call__(self, logits: Tensor, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss, a scalar, of logits float32 [batch, exits, classes], and means to log, [exits]."""
        ...


class Step(NamedTuple):
    """A training step: its loss, a scalar; its terms, [exits] each; whether taken, bool []."""

    loss: Tensor
    terms: dict[str, Tensor]
    taken: Tensor


@dataclass(frozen=True)
class EpochRecord:
    """The log rows of an epoch: `metrics` is reproducible, `timings` is not."""

    metrics: dict[str, Any]
    timings: dict[str, Any]


@dataclass(frozen=True)
class Epochs:
    """Everything the epochs of one network are trained with.

    seed: of this network. evaluate: answers of the images that are evaluated after every epoch.
    They are logged; nothing is selected by them.
    teacher_correct: whether the teacher's exits are right on these images, bool [images, exits].
    With it, mean entropies by the teacher's correctness are logged. None: no teacher.
    """

    settings: Training
    batches: Batches
    objective: Objective
    seed: int
    context: Context
    evaluate: Callable[[EarlyExitNet], Answers]
    teacher_correct: BoolArray | None = None

    def rate(self, step: int) -> float:
        """Learning rate of a training step, counted from 0."""
        return learning_rate(self.settings, step, len(self.batches))


def train_epoch(
    state: TrainState,
    plan: Epochs,
    observer: Observer,
    after_step: Callable[[TrainState], object] = lambda state: None,
) -> EpochRecord:
    """Train to the end of an epoch, evaluate the network, and return the rows to log.

    `after_step` can save the state and raise an exception; the next call continues there.

    Raises:
        TrainingError: too many consecutive steps, or all steps of an epoch, were not finite, or
            float16 cannot hold the gradients.
    """
    steps, settings = len(plan.batches), plan.settings
    log = state.log = state.log or EpochLog(plan.batches.batch_size)
    log.resume()
    state.begin_epoch(state.epoch)
    first = state.step - state.epoch * steps
    with torch.random.fork_rng(devices=[]):
        for batch in plan.batches.epoch(state.epoch, first):
            # Dropout draws from the global generator, whose seed must depend on the step alone.
            torch.manual_seed(derive_seed(plan.seed, "dropout", state.step, plan.context.rank))
            rate = plan.rate(state.step)
            log.add(*train_step(state, batch, plan.objective, settings, rate, plan.context))
            state.step += 1
            done = state.step - state.epoch * steps
            if done % _STEPS_PER_EVENT == 0 or done == steps:
                observer.step(log.step_event(state.epoch + 1, settings.epochs, done, steps))
                where = f"epoch {state.epoch + 1}, step {done} of {steps}"
                state.guard.check(where, rate, half=state.scaler.is_enabled())
            after_step(state)
    state.epoch, state.log = state.epoch + 1, None
    return _finished(state, plan, log, observer)


def _finished(state: TrainState, plan: Epochs, log: EpochLog, observer: Observer) -> EpochRecord:
    """Evaluate the network after the last step of an epoch."""
    rate = plan.rate(state.step - 1)
    _check_scale(state)
    _report_skipped(state, log, rate, observer)
    epoch, seconds, means = state.epoch, log.seconds, log.means()
    speed = log.images / seconds
    answers = plan.evaluate(state.model)
    gaps: list[EntropyGap] = []
    if plan.teacher_correct is not None:
        gaps = entropy_gaps(answers.entropies, answers.correct, plan.teacher_correct)
    metrics = {
        "epoch": epoch,
        "learning_rate": rate,
        "loss": log.loss,
        **means,
        "skipped_steps": log.skipped,
        "accuracy_calibration": answers.accuracy,
        **_entropies(gaps),
        "collapsed": warn_of_collapsed(answers, state.model.classes, observer),
    }
    timings = {
        "epoch": epoch, "seconds": seconds, "images": log.images, "images_per_second": speed,
    }  # fmt: skip
    observer.epoch(
        EpochEvent(
            epoch, plan.settings.epochs, log.loss, means, answers.accuracy, speed, seconds,
            [gap.gap for gap in gaps],
        )
    )  # fmt: skip
    return EpochRecord(metrics, timings)


def train_step(
    state: TrainState,
    batch: Batch,
    objective: Objective,
    settings: Training,
    rate: float,
    context: Context,
) -> Step:
    """Train one step.

    A step whose loss or gradients are not finite changes nothing, except that it lowers the
    gradient scale in float16, whose first steps can overflow.
    """
    for group, factor in zip(state.optimizer.param_groups, state.rate_factors, strict=True):
        group["lr"] = rate * factor
    state.optimizer.zero_grad(set_to_none=True)
    state.guard.before()
    with context.autocast():
        logits = state.forward(batch.images)
    loss, terms = objective(logits.float(), batch, state.step)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    loss, terms = loss.detach(), {name: term.detach() for name, term in terms.items()}
    if context.engine.world_size > 1:
        context.engine.average([*state.differing(), loss, *terms.values()])
    state.scaler.unscale_(state.optimizer)
    taken = state.guard.finite(loss, settings.gradient_clipping)
    state.guard.step(taken)
    state.scaler.update()
    return Step(loss, terms, taken)


def _entropies(gaps: list[EntropyGap]) -> dict[str, list[float | None]]:
    """Columns of metrics.jsonl: mean entropies in nats, [early exits] each."""
    if not gaps:
        return {}
    return {
        "entropy_teacher_wrong": [gap.wrong for gap in gaps],
        "entropy_teacher_right": [gap.right for gap in gaps],
    }


def _report_skipped(state: TrainState, log: EpochLog, rate: float, observer: Observer) -> None:
    """Warn of skipped steps.

    Raises:
        TrainingError: no step of the epoch had a finite loss.
    """
    half = state.scaler.is_enabled()
    if not log.finite:
        where = f"epoch {state.epoch}"
        raise not_finite("All steps of an epoch were", where, rate, half=half)
    if log.skipped and half:
        observer.note(
            f"{log.skipped} steps of epoch {state.epoch} were skipped: gradients did not fit into "
            "float16. This is usual at the beginning of a training."
        )
    elif log.skipped:
        observer.warning(
            f"{log.skipped} steps of epoch {state.epoch} were skipped: loss or gradients were not "
            "finite. If this happens again, lower the learning rate or set gradient_clipping."
        )


def _check_scale(state: TrainState) -> None:
    """Check the gradient scale, which every step that overflows halves.

    Raises:
        TrainingError: gradients overflow at any scale.
    """
    if state.scaler.get_scale() < _LEAST_SCALE:
        raise TrainingError(
            f"float16 cannot hold the gradients of epoch {state.epoch} at any scale.",
            expected="finite gradients",
            hint="put precision: bfloat16 or float32 into the recipe",
        )
