"""Latencies of two exported networks on the same images, in interleaved rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from erde_cli.core.arrays import FloatArray
from erde_cli.core.events import Progress
from erde_cli.core.export.check import Exported
from erde_cli.core.measurement.latency import ROUNDS, Timing, leaving_at, mean_ms, paired_ratio
from erde_cli.core.measurement.rounds import Workload, no_progress, seconds_in_rounds

_CALLS, _IMAGES = 4, 64  # at least, for one exit in one round


@dataclass(frozen=True)
class Times:
    """Latency of one network, ms per image: spread over single calls, and mean (`mean_ms`)."""

    timing: Timing
    mean: float

    @classmethod
    def of(cls, seconds: FloatArray, batch: int) -> Times:
        """From the seconds of each call, [rounds, calls]."""
        return cls(Timing.of(seconds, batch), mean_ms(seconds, batch))

    def to_json(self) -> dict[str, float | int]:
        """Form in JSON."""
        spread = asdict(self.timing)
        named = {f"{name}_ms": spread[name] for name in ("median", "p5", "p95")}
        return {**named, "mean_ms": self.mean, "calls": self.timing.calls}


@dataclass(frozen=True)
class Pair:
    """Latencies of the first and the second network.

    exit: where all images leave, 0-based; None: at the thresholds. ratio: latency of the second
    over the first, compared round by round.
    """

    exit: int | None
    first: Times
    second: Times
    ratio: float


@dataclass(frozen=True)
class BatchPairs:
    """Results at one batch size; images: number routed at the thresholds in each round."""

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
    progress: Progress = no_progress,
) -> BatchPairs:
    """Measure two networks, with all images leaving at each exit and at their own thresholds.

    Args:
        networks: the two networks.
        pixels: uint8 [images, height, width, 3]; an incomplete last batch is dropped.
        batch: images in one call.
        thresholds: θ of the early exits of each network, [exits - 1].
        repeats: rounds that count.
        progress: receives the number of rounds done, and of all.
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
    seconds = seconds_in_rounds(workloads, repeats, nullcontext, progress)
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
    """Median latency of each exit at batch 1, ms [exits]."""
    parts = torch.split(pixels[:_IMAGES], 1)
    workloads = [
        Workload(_answering(network, leaving_at(i, exit_count)), parts) for i in range(exit_count)
    ]
    return [Timing.of(one, 1).median for one in seconds_in_rounds(workloads, ROUNDS, nullcontext)]


def _answering(network: Exported, thresholds: Sequence[float]) -> Callable[[Tensor], object]:
    own = list(thresholds)
    return lambda images: network.answer(images.numpy(), own)
