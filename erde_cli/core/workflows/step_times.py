"""Time a network on this machine: training steps, inference, teacher's logits."""

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

RATE = 1e-6  # hardly changes the weights, so that they stay finite
NORMALISATION = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))  # as fast as the real one
_WARM = 2  # untimed steps: the first ones choose kernels and allocate memory
_SECONDS = 0.3  # minimum of a measurement


def seconds_per_step(prepared: Prepared) -> float:
    """Seconds per training step, including its batch; changes the weights."""
    prepared.state.begin_epoch(prepared.settings.epochs - 1)  # trains all that is ever trained
    batches = _endless(prepared.batches)

    def train(steps: int) -> int:
        log = EpochLog(prepared.batches.batch_size)
        for batch in islice(batches, steps):
            step = train_step(
                prepared.state, batch, prepared.objective, prepared.settings, RATE, prepared.context
            )
            log.add(*step)
            prepared.state.step += 1
        log.step_event(1, 1, steps, steps)  # waits for the device
        return steps

    with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
        return _seconds_each(train, _WARM)


def seconds_per_answer(
    model: EarlyExitNet, store: ImageStore, normalisation: Normalisation, context: Context
) -> float:
    """Seconds per image to run a network through every exit.

    Args:
        model: the network, on the device.
        store: images; as many are used as the measurement needs.
        normalisation: of the images.
        context: device and precision.
    """
    at_once = images_at_once(store.images.shape[2], context.device)

    def answer(batches: int) -> int:
        images = store.only(np.arange(min(len(store), batches * at_once)))
        answer_all(model, images, normalisation, context)
        return len(images)

    return _seconds_each(answer, 1)


def seconds_per_run(run: Logits, batches: Batches, images: int | None = None) -> float:
    """Seconds per batch to run a network without gradients.

    Args:
        run: such as a teacher's logits.
        batches: of its images.
        images: images per batch; None: as many as in a training step.
    """
    batch = next(batches.epoch(0) if images is None else batches.in_order(0, images))

    def compute(times: int) -> int:
        for _ in range(times):
            float(run(batch).sum())  # waits for the device
        return times

    return _seconds_each(compute, 1)


def _endless(batches: Batches) -> Iterator[Batch]:
    for epoch in count():
        yield from batches.epoch(epoch)


def _seconds_each(work: Callable[[int], int], warm: int) -> float:
    """Seconds per unit that `work` reports, in calls of growing size until `_SECONDS` are over."""
    work(warm)
    units, seconds, amount = 0, 0.0, 1
    while seconds < _SECONDS:
        start = perf_counter()
        units += work(amount)
        seconds += perf_counter() - start
        amount *= 2
    return seconds / units
