"""Two exported networks, the same images, measured in turn: milliseconds and their ratio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from erde_cli.core.arrays import FloatArray
from erde_cli.core.export.check import Exported
from erde_cli.core.measurement.latency import ROUNDS, Timing, leaving_at, paired_ratio
from erde_cli.core.measurement.rounds import Tell, Workload, no_progress, seconds_in_rounds

_CALLS, _IMAGES = 4, 64  # of one exit in one round: at least so many calls, so many images


@dataclass(frozen=True)
class Times:
    """One network, ms per image: spread over single calls, and the mean over calls.

    mean: of each call's median over the rounds. Where images leave at several exits it tells what
    they take together; the median over calls tells of one exit.
    """

    timing: Timing
    mean: float

    @classmethod
    def of(cls, seconds: FloatArray, batch: int) -> Times:
        """From the seconds of every call, [rounds, calls]."""
        mean = float(np.median(seconds, axis=0).mean()) * 1000 / batch
        return cls(Timing.of(seconds, batch), mean)

    def to_json(self) -> dict[str, float | int]:
        """Form in JSON."""
        spread = asdict(self.timing)
        named = {f"{name}_ms": spread[name] for name in ("median", "p5", "p95")}
        return {**named, "mean_ms": self.mean, "calls": self.timing.calls}


@dataclass(frozen=True)
class Pair:
    """The first network and the second, leaving at an exit (from 0), or None: at thresholds.

    ratio: time of the second over the first, compared round by round.
    """

    exit: int | None
    first: Times
    second: Times
    ratio: float


@dataclass(frozen=True)
class BatchPairs:
    """One batch size; images: how many went through at the thresholds in each round."""

    batch: int
    images: int
    rounds: int
    pairs: tuple[Pair, ...]


def measure_pairs(
    networks: tuple[Exported, Exported],
    pixels: Tensor,
    batch: int,
    thresholds: tuple[Sequence[float], Sequence[float]],
    repeats: int = ROUNDS,
    tell: Tell = no_progress,
) -> BatchPairs:
    """Measure both at every exit, and each at thresholds of its own.

    Args:
        networks: what is compared.
        pixels: uint8 [images, height, width, 3]; those that fill no batch are left out.
        batch: images in one call.
        thresholds: θ of the early exits, of each network.
        repeats: rounds that count.
        tell: receives how many rounds are done, of how many.
    """
    count = len(thresholds[0]) + 1
    parts = torch.split(pixels[: len(pixels) // batch * batch], batch)
    few = parts[: max(_CALLS, _IMAGES // batch)]
    workloads = [
        Workload(_answering(network, leaving_at(exit_, count)), few)
        for exit_ in range(count)
        for network in networks
    ]
    both = zip(networks, thresholds, strict=True)
    workloads += [Workload(_answering(network, own), parts) for network, own in both]
    seconds = seconds_in_rounds(workloads, repeats, nullcontext, tell)
    pairs = [
        Pair(
            row if row < count else None,
            Times.of(first, batch),
            Times.of(second, batch),
            paired_ratio(second, first),
        )
        for row, (first, second) in enumerate(zip(seconds[::2], seconds[1::2], strict=True))
    ]
    return BatchPairs(batch, len(parts) * batch, repeats, tuple(pairs))


def leaving_ms(network: Exported, pixels: Tensor, exit_count: int) -> list[float]:
    """Median milliseconds of leaving at each exit, one image at a time, [exits]."""
    parts = torch.split(pixels[:_IMAGES], 1)
    workloads = [
        Workload(_answering(network, leaving_at(i, exit_count)), parts) for i in range(exit_count)
    ]
    return [Timing.of(one, 1).median for one in seconds_in_rounds(workloads, ROUNDS, nullcontext)]


def _answering(network: Exported, thresholds: Sequence[float]) -> Callable[[Tensor], object]:
    own = list(thresholds)
    return lambda images: network.answer(images.numpy(), own)
