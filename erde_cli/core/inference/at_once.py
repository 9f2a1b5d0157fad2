"""Several batches at once, each in a thread of its own.

Operators on a few photos cannot keep many cores busy; batches side by side can. All threads share
one network, and torch and ONNX Runtime hold no lock of Python while they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.inference.prediction import Answering, Predicted

Answer = Callable[[Tensor], Callable[[], Predicted]]


@contextmanager
def answers_at_once(
    answering: Answering, rule: ExitRule, batch: int | None, workers: int
) -> Iterator[Answer]:
    """Start to answer images as `answering` does, to the bit, up to `workers` batches at once.

    Yields a function: decoded images, uint8 [images, height, width, 3], at least one, to a function
    that waits for their predictions. With one worker, only the latter computes.

    Args:
        answering: the network.
        rule: score, thresholds and temperatures.
        batch: images per batch; None: a size that suits the device.
        workers: batches at once. Each has as many threads of torch as this thread.
    """
    if workers == 1:
        yield lambda pixels: lambda: answering.answer(pixels, rule, batch)
        return
    size = answering.batch_size(batch)
    pool = ThreadPoolExecutor(
        workers, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)
    )

    def start(pixels: Tensor) -> Callable[[], Predicted]:
        parts = [
            pool.submit(answering.answer, part, rule, size) for part in torch.split(pixels, size)
        ]
        return lambda: Predicted.joined(part.result() for part in parts)

    try:
        yield start
    finally:
        pool.shutdown(cancel_futures=True)
