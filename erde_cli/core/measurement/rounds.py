"""Times of calls, measured in turn.

In rounds over all that is compared, so that whatever else the machine does falls on all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from erde_cli.core.arrays import FloatArray

Autocast = Callable[[], AbstractContextManager[object]]
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Workload:
    """One of the things that are compared, and the batches it is run on in every round."""

    run: Callable[[Tensor], object]
    parts: Sequence[Tensor]


def no_progress(done: int, total: int) -> None:
    """Report no progress."""


@torch.inference_mode()
def seconds_in_rounds(
    workloads: Sequence[Workload], repeats: int, autocast: Autocast, tell: Tell = no_progress
) -> list[FloatArray]:
    """Seconds of every call, [repeats, calls] for each workload, after one uncounted round.

    Args:
        workloads: what is run in turn, in every round.
        repeats: rounds that count.
        autocast: entered anew for every call, as in use: kept open, it keeps converted weights.
        tell: receives how many rounds are done, of how many.
    """
    wait = _waiter(workloads[0].parts[0].device)
    found = [np.empty((repeats + 1, len(workload.parts))) for workload in workloads]
    for round_ in range(repeats + 1):
        for workload, seconds in zip(workloads, found, strict=True):
            for call, part in enumerate(workload.parts):
                wait()
                start = perf_counter()
                with autocast():
                    workload.run(part)
                wait()
                seconds[round_, call] = perf_counter() - start
        tell(round_ + 1, repeats + 1)
    return [seconds[1:] for seconds in found]


def _waiter(device: torch.device) -> Callable[[], None]:
    """What waits until a device has done all it was given; a CPU is never behind."""
    if device.type == "cpu":
        return lambda: None
    return lambda: torch.accelerator.synchronize(device)
