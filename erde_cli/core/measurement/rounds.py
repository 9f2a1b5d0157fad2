"""Times of calls, in interleaved rounds, so that other load affects all workloads alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from erde_cli.core.arrays import FloatArray
from erde_cli.core.events import Progress

Autocast = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Workload:
    """A function to time, and the batches that it runs on in each round."""

    run: Callable[[Tensor], object]
    parts: Sequence[Tensor]


def no_progress(done: int, total: int) -> None:
    """Report no progress."""


@torch.inference_mode()
def seconds_in_rounds(
    workloads: Sequence[Workload],
    repeats: int,
    autocast: Autocast,
    progress: Progress = no_progress,
) -> list[FloatArray]:
    """Seconds of each call, float64 [repeats, calls] for each workload, after a warm-up round.

    Args:
        workloads: run in turn in each round.
        repeats: rounds that count.
        autocast: context of each call; a context kept open would cache converted weights.
        progress: receives the number of rounds done, and of all.
    """
    wait = _waiter(workloads[0].parts[0].device)
    seconds = [np.empty((repeats + 1, len(workload.parts))) for workload in workloads]
    for round_ in range(repeats + 1):
        for workload, row in zip(workloads, seconds, strict=True):
            for call, part in enumerate(workload.parts):
                wait()
                start = perf_counter()
                with autocast():
                    workload.run(part)
                wait()
                row[round_, call] = perf_counter() - start
        progress(round_ + 1, repeats + 1)
    return [row[1:] for row in seconds]


def _waiter(device: torch.device) -> Callable[[], None]:
    """Function that waits until a device is idle; a CPU always is."""
    if device.type == "cpu":
        return lambda: None
    return lambda: torch.accelerator.synchronize(device)
