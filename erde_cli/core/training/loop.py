"""The loop that trains teacher and student alike: it is given an objective, and knows no loss.

All that changes during training lives in `TrainState`; everything else is a pure function of the
settings, the seed and the step.
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

_LEAST_SCALE = 2.0**-16  # of gradients in float16; 32 skipped steps below where it begins
_STEPS_PER_EVENT = 10  # reading a loss makes the device wait; so not every step


class Objective(Protocol):
    """What a network is trained for."""

    def __call__(self, logits: Tensor, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss (a scalar) and what to log: means over the batch, [exits] each."""
        ...


class Step(NamedTuple):
    """A training step: its loss, a scalar, what to log of it, and whether it was taken, bool []."""

    loss: Tensor
    terms: dict[str, Tensor]
    taken: Tensor


@dataclass(frozen=True)
class EpochRecord:
    """What an epoch gave: `metrics` is reproducible, `timings` is not."""

    metrics: dict[str, Any]
    timings: dict[str, Any]


@dataclass(frozen=True)
class Epochs:
    """What the epochs of one network are trained with; `seed` is the network's own.

    look: answers the images that are looked at after every epoch (shown, never selected on).
    teacher_correct: where the teacher is right on these images, bool [images, exits]; with it, mean
        entropies where it is wrong and where it is right are logged. None: no teacher.
    """

    settings: Training
    batches: Batches
    objective: Objective
    seed: int
    context: Context
    look: Callable[[EarlyExitNet], Answers]
    teacher_correct: BoolArray | None = None

    def rate(self, step: int) -> float:
        """Learning rate of a step of the training, from 0."""
        return learning_rate(self.settings, step, len(self.batches))


def train_epoch(
    state: TrainState,
    wanted: Epochs,
    observer: Observer,
    after_step: Callable[[TrainState], object] = lambda state: None,
) -> EpochRecord:
    """Train to the end of an epoch, then look at the calibration split; its numbers.

    `after_step` may save the state, and end it all by an exception: the next call goes on there.

    Raises:
        TrainingError: too many steps one after the other were not finite, or all of an epoch;
            or float16 cannot hold the gradients.
    """
    steps, settings = len(wanted.batches), wanted.settings
    log = state.log = state.log or EpochLog(wanted.batches.batch_size)
    log.resume()
    state.model.train()
    first = state.step - state.epoch * steps
    with torch.random.fork_rng(devices=[]):
        for batch in wanted.batches.epoch(state.epoch, first):
            # Dropout draws from the global generator: set anew, it depends on the step alone.
            torch.manual_seed(derive_seed(wanted.seed, "dropout", state.step, wanted.context.rank))
            rate = wanted.rate(state.step)
            log.add(*train_step(state, batch, wanted.objective, settings, rate, wanted.context))
            state.step += 1
            done = state.step - state.epoch * steps
            if done % _STEPS_PER_EVENT == 0 or done == steps:
                observer.step(log.step_event(state.epoch + 1, settings.epochs, done, steps))
                _check_steps(state, rate, done, steps)
            after_step(state)
    state.epoch, state.log = state.epoch + 1, None
    return _finished(state, wanted, log, observer)


def _finished(state: TrainState, wanted: Epochs, log: EpochLog, observer: Observer) -> EpochRecord:
    """What an epoch gave, after its last step."""
    rate = wanted.rate(state.step - 1)
    _check_scale(state)
    _tell_skipped(state, log, rate, observer)
    seconds = log.seconds
    means = log.means()
    answers = wanted.look(state.model)
    gaps = _gaps(answers, wanted.teacher_correct)
    record = EpochRecord(
        {
            "epoch": state.epoch,
            "learning_rate": rate,
            "loss": log.loss,
            **means,
            "skipped_steps": log.skipped,
            "accuracy_calibration": answers.accuracy,
            **_entropies(gaps),
            "collapsed": warn_of_collapsed(answers, state.model.classes, observer),
        },
        {
            "epoch": state.epoch,
            "seconds": seconds,
            "images": log.images,
            "images_per_second": log.images / seconds,
        },
    )
    observer.epoch(
        EpochEvent(
            state.epoch,
            wanted.settings.epochs,
            log.loss,
            means,
            answers.accuracy,
            log.images / seconds,
            seconds,
            [one.gap for one in gaps],
        )
    )
    return record


def train_step(
    state: TrainState,
    batch: Batch,
    objective: Objective,
    settings: Training,
    rate: float,
    context: Context,
) -> Step:
    """One step of training.

    A step whose loss or gradients are not finite changes nothing; in float16, whose first steps may
    overflow, it lowers the gradient scale.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad(set_to_none=True)
    state.guard.before()
    with context.autocast():
        logits = state.forward(batch.images)
    loss, terms = objective(logits.float(), batch, state.step)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    state.scaler.unscale_(state.optimizer)
    taken = state.guard.finite(loss, settings.gradient_clipping)
    state.guard.step(taken)
    state.scaler.update()
    return Step(loss.detach(), {name: term.detach() for name, term in terms.items()}, taken)


def _gaps(answers: Answers, teacher_correct: BoolArray | None) -> list[EntropyGap]:
    """Of every early exit; none without a teacher."""
    if teacher_correct is None:
        return []
    return entropy_gaps(answers.entropies, answers.correct, teacher_correct)


def _entropies(gaps: list[EntropyGap]) -> dict[str, list[float | None]]:
    """What is logged of them: mean entropies in nats, one number for every early exit."""
    if not gaps:
        return {}
    return {
        "entropy_teacher_wrong": [one.wrong for one in gaps],
        "entropy_teacher_right": [one.right for one in gaps],
    }


def _check_steps(state: TrainState, rate: float, done: int, steps: int) -> None:
    where = f"epoch {state.epoch + 1}, step {done} of {steps}"
    state.guard.check(where, rate, half=state.scaler.is_enabled())


def _tell_skipped(state: TrainState, log: EpochLog, rate: float, observer: Observer) -> None:
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
            "float16, as is usual in the beginning."
        )
    elif log.skipped:
        observer.warning(
            f"{log.skipped} steps of epoch {state.epoch} were skipped: loss or gradients were not "
            "finite. If it happens again, lower the learning rate or set gradient_clipping."
        )


def _check_scale(state: TrainState) -> None:
    """Check that steps are still taken: each that overflows halves the scale.

    Raises:
        TrainingError: no gradient is finite, however small the scale.
    """
    if state.scaler.get_scale() < _LEAST_SCALE:
        raise TrainingError(
            f"float16 cannot hold the gradients of epoch {state.epoch}, however they are scaled.",
            expected="finite gradients",
            hint="put precision: bfloat16 or float32 into the recipe",
        )
