"""How long a network takes on this machine: a few real training steps, and a few answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, islice
from time import perf_counter

import numpy as np
import torch

from erde_cli.core.data.batches import Batch, Batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context, images_at_once
from erde_cli.core.inference.answers import answer_all
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.training.epoch_log import EpochLog
from erde_cli.core.training.loop import train_step
from erde_cli.core.workflows.prepared import Logits, Prepared

_RATE = 1e-6  # hardly moves the weights, which are thrown away
_WARM = 2  # steps that do not count: the first ones choose kernels and take memory
_SECONDS = 0.3  # of what is timed, at least


def seconds_per_step(made: Prepared) -> float:
    """Seconds of a training step, the making of its batch included; the weights are spoilt."""
    made.state.model.train()
    batches = _endless(made.batches)

    def train(steps: int) -> int:
        log = EpochLog(made.batches.batch_size)
        for batch in islice(batches, steps):
            log.add(
                *train_step(made.state, batch, made.objective, made.settings, _RATE, made.context)
            )
            made.state.step += 1
        log.step_event(1, 1, steps, steps)  # waits for the device
        return steps

    with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
        return _seconds_each(train, _WARM)


def seconds_per_answer(
    model: EarlyExitNet, store: ImageStore, normalisation: Normalisation, context: Context
) -> float:
    """Seconds per image in which all exits of a network answer.

    Args:
        model: the network, on the device.
        store: the images; as many are answered as take long enough to be timed.
        normalisation: of the images.
        context: device and precision.
    """
    at_once = images_at_once(store.images.shape[2], context.device)

    def answer(batches: int) -> int:
        some = store.only(np.arange(min(len(store), batches * at_once)))
        answer_all(model, some, normalisation, context)
        return len(some)

    return _seconds_each(answer, 1)


def seconds_of_logits(teacher: Logits, batches: Batches) -> float:
    """Seconds in which a teacher gives its logits for a batch."""
    batch = next(iter(batches.epoch(0)))

    def ask(times: int) -> int:
        for _ in range(times):
            float(teacher(batch).sum())  # waits for the device
        return times

    return _seconds_each(ask, 1)


def _endless(batches: Batches) -> Iterator[Batch]:
    for epoch in count():
        yield from batches.epoch(epoch)


def _seconds_each(work: Callable[[int], int], warm: int) -> float:
    """Seconds of one piece of work, of as many as take long enough to be timed."""
    work(warm)
    pieces, seconds, amount = 0, 0.0, 1
    while seconds < _SECONDS:
        start = perf_counter()
        pieces += work(amount)
        seconds += perf_counter() - start
        amount *= 2
    return seconds / pieces
