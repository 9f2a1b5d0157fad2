"""Latency of each exit in milliseconds, on real images, decisions included.

Everything that is compared is measured in interleaved rounds. Medians exclude bursts of other load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.events import Progress
from erde_cli.core.inference.observations import exit_rates
from erde_cli.core.inference.routing import Routed, route
from erde_cli.core.measurement.rounds import (
    Autocast,
    Workload,
    no_progress,
    seconds_in_rounds,
)
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.thresholds.scores import ENTROPY, Score

ROUNDS = 15
_PROBE_IMAGES, _PROBE_CALLS = 256, 32  # at most, for one exit in one round


@dataclass(frozen=True)
class Timing:
    """Milliseconds per image over single calls: median, 5th and 95th percentile."""

    median: float
    p5: float
    p95: float
    calls: int

    @classmethod
    def of(cls, seconds: FloatArray, batch: int) -> Timing:
        """From the seconds of all calls, of any shape."""
        low, middle, high = np.percentile(seconds * 1000 / batch, [5, 50, 95])
        return cls(float(middle), float(low), float(high), seconds.size)


@dataclass(frozen=True)
class EndToEnd:
    """Latency of images routed at the thresholds; exit_rates: [exits]; mean: see `mean_ms`.

    over_static: ratio to the latency of each exit alone [exits], compared round by round, so that a
    temporary slowdown affects both.
    """

    exit_rates: tuple[float, ...]
    mean: float
    timing: Timing
    over_static: tuple[float, ...]


@dataclass(frozen=True)
class Shares:
    """Cost at the thresholds over another: by MACs, expected latency and measured latency."""

    macs: float
    expected: float
    end_to_end: float

    @property
    def ratio(self) -> float:
        """Expected share of the latency over that of the MACs: 1 if MACs predict latency."""
        return self.expected / self.macs


@dataclass(frozen=True)
class BatchLatency:
    """Latencies at one batch size: of each exit, of each exit alone, and end to end.

    images: number routed in each round. static: of each exit alone; the last is the static network,
    the baseline. end_to_end: None without thresholds.
    """

    batch: int
    images: int
    exits: tuple[Timing, ...]
    static: tuple[Timing, ...]
    end_to_end: EndToEnd | None

    @property
    def increasing(self) -> bool:
        """Whether no exit is faster than the one before it; if one is, that is noise."""
        return all(one.median <= next_.median for one, next_ in pairwise(self.exits))

    @property
    def expected(self) -> float | None:
        """Exit rates · median latencies of the exits, ms per image."""
        if self.end_to_end is None:
            return None
        medians = [timing.median for timing in self.exits]
        return float(np.dot(self.end_to_end.exit_rates, medians))

    def shares(self, cumulative_macs: Sequence[float]) -> Shares | None:
        """Cost of the routed images over that of leaving at the last exit, early heads included.

        None without thresholds.
        """
        if self.end_to_end is None or self.expected is None:
            return None
        last = self.exits[-1].median
        macs = float(np.dot(self.end_to_end.exit_rates, cumulative_macs)) / cumulative_macs[-1]
        return Shares(macs, self.expected / last, self.end_to_end.mean / last)

    @property
    def over_static(self) -> list[float]:
        """Latency of leaving at each exit over that of the static network [exits]."""
        return [timing.median / self.static[-1].median for timing in self.exits]

    @property
    def expected_alone(self) -> float | None:
        """Exit rates · median latencies of the exits alone, ms per image; None without thresholds.

        This is the latency at the thresholds if early heads and decisions took no time.
        """
        if self.end_to_end is None:
            return None
        medians = [timing.median for timing in self.static]
        return float(np.dot(self.end_to_end.exit_rates, medians))

    def static_shares(self, cumulative_macs: Sequence[float], static_macs: float) -> Shares | None:
        """Cost of the routed images over that of the static network; None without thresholds.

        Args:
            cumulative_macs: of each exit, early heads included, [exits].
            static_macs: of the static network: the last exit alone.
        """
        if self.end_to_end is None or self.expected is None:
            return None
        macs = float(np.dot(self.end_to_end.exit_rates, cumulative_macs)) / static_macs
        expected = self.expected / self.static[-1].median
        return Shares(macs, expected, self.end_to_end.over_static[-1])


class Runs(Protocol):
    """Functions that run one network on normalised images [batch, 3, height, width]."""

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""

    def leaving(self, thresholds: Sequence[float]) -> Callable[[Tensor], object]:
        """Function that routes images under thresholds."""

    def alone(self, exit_: int) -> Callable[[Tensor], object]:
        """Function that runs an exit alone."""

    def exits(self, thresholds: Sequence[float], images: Tensor) -> IntArray:
        """Exit that each image leaves at, int64 [batch]."""


@dataclass(frozen=True)
class TorchRuns:
    """A network made ready for inference, run by torch; `autocast` is for `exits` alone."""

    model: EarlyExitNet
    temperatures: Sequence[float] | None = None
    autocast: Autocast = nullcontext
    score: Score = ENTROPY

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return self.model.exit_count

    def leaving(self, thresholds: Sequence[float]) -> Callable[[Tensor], Routed]:
        """Function that routes images under thresholds."""
        return lambda images: route(self.model, images, thresholds, self.temperatures, self.score)

    def alone(self, exit_: int) -> Callable[[Tensor], object]:
        """Function that runs an exit alone."""
        return static_network(self.model, exit_)

    def exits(self, thresholds: Sequence[float], images: Tensor) -> IntArray:
        """Exit that each image leaves at, int64 [batch]."""
        with self.autocast():
            exits: IntArray = self.leaving(thresholds)(images).exit.cpu().numpy()
        return exits


def measure_runs(
    runs: Runs,
    images: Tensor,
    batch: int,
    thresholds: Sequence[float] | None = None,
    *,
    repeats: int = ROUNDS,
    autocast: Autocast = nullcontext,
    progress: Progress = no_progress,
) -> BatchLatency:
    """Measure the latency of each exit, of each exit alone, and end to end at thresholds.

    Args:
        runs: functions that run the network.
        images: normalised, float32 [images, 3, height, width]; an incomplete last batch is dropped.
        batch: images in one call.
        thresholds: θ of the early exits, [exits - 1]; None: not end to end.
        repeats: rounds that count.
        autocast: context of each call.
        progress: receives the number of rounds done, and of all.

    Raises:
        ValueError: there are fewer images than one batch.
    """
    parts = _whole_batches(images, batch)
    count = runs.exit_count
    workloads = _leaving_workloads(runs, parts)
    workloads += [Workload(runs.alone(index), _few(parts)) for index in range(count)]
    rates: tuple[float, ...] = ()
    if thresholds is not None:
        left = np.concatenate([runs.exits(thresholds, part) for part in parts])
        rates = exit_rates(left, count)
        workloads.append(Workload(runs.leaving(thresholds), parts))
    seconds = seconds_in_rounds(workloads, repeats, autocast, progress)
    timings = [Timing.of(one, batch) for one in seconds]
    end_to_end = None
    if thresholds is not None:
        over = tuple(paired_ratio(seconds[-1], alone) for alone in seconds[count : 2 * count])
        end_to_end = EndToEnd(rates, mean_ms(seconds[-1], batch), timings[-1], over)
    exits, static = tuple(timings[:count]), tuple(timings[count : 2 * count])
    return BatchLatency(batch, len(parts) * batch, exits, static, end_to_end)


def exit_latencies(
    runs: Runs, images: Tensor, repeats: int = ROUNDS, autocast: Autocast = nullcontext
) -> list[float]:
    """Median latency of each exit at batch 1, ms [exits]; arguments as in `measure_runs`.

    Noise is not removed: a later exit can be faster than one before it.
    """
    workloads = _leaving_workloads(runs, torch.split(images, 1))
    return [Timing.of(one, 1).median for one in seconds_in_rounds(workloads, repeats, autocast)]


def mean_ms(seconds: FloatArray, batch: int) -> float:
    """Mean milliseconds per image over calls, from seconds [rounds, calls].

    Each call counts with its median over the rounds. This mean can be compared with exit rates ·
    latencies; a median over images of several exits cannot.
    """
    return float(np.median(seconds, axis=0).mean()) * 1000 / batch


def leaving_at(exit_: int, exit_count: int) -> list[float]:
    """Thresholds under which every image leaves at one exit (0-based), [exits - 1]."""
    return [math.inf if index == exit_ else 0.0 for index in range(exit_count - 1)]


def static_network(model: EarlyExitNet, exit_: int) -> nn.Module:
    """Stages up to an exit and its head, without earlier heads and decisions."""
    return nn.Sequential(*model.stages[: exit_ + 1], model.heads[exit_])


def paired_ratio(one: FloatArray, other: FloatArray) -> float:
    """Median over rounds of the ratio of two workloads' seconds, [rounds, calls] each."""
    return float(np.median(by_round(one) / by_round(other)))


def by_round(seconds: FloatArray) -> FloatArray:
    """Mean seconds of a call in each round [rounds], robust against bursts in single calls."""
    usual = np.median(seconds, axis=0)
    pace: FloatArray = np.median(seconds / usual, axis=1)
    return pace * float(usual.mean())


def _leaving_workloads(runs: Runs, parts: Sequence[Tensor]) -> list[Workload]:
    count = runs.exit_count
    limits = [leaving_at(index, count) for index in range(count)]
    return [Workload(runs.leaving(thresholds), _few(parts)) for thresholds in limits]


def _whole_batches(images: Tensor, batch: int) -> list[Tensor]:
    if len(images) < batch:
        raise ValueError(f"{batch} images expected at least, got {len(images)}")
    return list(torch.split(images[: len(images) // batch * batch], batch))


def _few(parts: Sequence[Tensor]) -> Sequence[Tensor]:
    """The first batches: the cost of one exit is the same for every image."""
    return parts[: min(_PROBE_CALLS, max(1, _PROBE_IMAGES // len(parts[0])))]
