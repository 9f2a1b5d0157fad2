"""What leaving at each exit takes, in milliseconds: measured on real images, deciding included.

All that is compared is measured in interleaved rounds; medians leave bursts of the machine out.
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
from numpy.typing import NDArray
from torch import Tensor, nn

from erde_cli.core.arrays import FloatArray
from erde_cli.core.inference.observations import exit_rates
from erde_cli.core.inference.routing import Routed, route
from erde_cli.core.measurement.rounds import (
    Autocast,
    Tell,
    Workload,
    no_progress,
    seconds_in_rounds,
)
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.thresholds.scores import ENTROPY, Score

ROUNDS = 15
_PROBE_IMAGES, _PROBE_CALLS = 256, 32  # of one exit in one round, where its images allow


@dataclass(frozen=True)
class Timing:
    """Milliseconds per image over single calls with one batch: median, 5th, 95th percentile."""

    median: float
    p5: float
    p95: float
    calls: int

    @classmethod
    def of(cls, seconds: FloatArray, batch: int) -> Timing:
        """From the seconds of every call, of any shape."""
        low, middle, high = np.percentile(seconds * 1000 / batch, [5, 50, 95])
        return cls(float(middle), float(low), float(high), seconds.size)


@dataclass(frozen=True)
class EndToEnd:
    """Images routed at real thresholds: exit rates [exits], mean milliseconds per image, spread.

    `mean` is over calls, of each call's median over the rounds: it can be compared with exit rates
    times medians, which the median over images of several exits cannot. `over_static`: this over
    each exit alone [exits], compared round by round, so that a machine that is half as fast for a
    while slows both; medians of their own would be taken at different moments.
    """

    exit_rates: tuple[float, ...]
    mean: float
    timing: Timing
    over_static: tuple[float, ...]


@dataclass(frozen=True)
class Shares:
    """Cost at a mix of exits over that of the last exit: by MACs, as expected, as measured."""

    macs: float
    expected: float
    end_to_end: float

    @property
    def ratio(self) -> float:
        """Expected share of the latency over that of the MACs: 1 where MACs predict it."""
        return self.expected / self.macs


@dataclass(frozen=True)
class BatchLatency:
    """One batch size: leaving at each exit, each exit as a static network, the real mix.

    images: how many were routed in each round. end_to_end: None without thresholds.
    """

    batch: int
    images: int
    exits: tuple[Timing, ...]
    static: tuple[Timing, ...]
    end_to_end: EndToEnd | None

    @property
    def increasing(self) -> bool:
        """Whether no exit came out faster than the one before it; where not, it is noise."""
        return all(one.median <= next_.median for one, next_ in pairwise(self.exits))

    @property
    def expected(self) -> float | None:
        """Exit rates of the routed images times the medians of the exits, ms per image."""
        if self.end_to_end is None:
            return None
        medians = [timing.median for timing in self.exits]
        return float(np.dot(self.end_to_end.exit_rates, medians))

    def shares(self, cumulative_macs: Sequence[float]) -> Shares | None:
        """What early exit leaves of the last exit's cost, on the images that were routed."""
        if self.end_to_end is None or self.expected is None:
            return None
        last = self.exits[-1].median
        macs = float(np.dot(self.end_to_end.exit_rates, cumulative_macs)) / cumulative_macs[-1]
        return Shares(macs, self.expected / last, self.end_to_end.mean / last)


class Runs(Protocol):
    """Ways to run one network on normalised images [batch, 3, height, width], to be timed."""

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""

    def leaving(self, thresholds: Sequence[float]) -> Callable[[Tensor], object]:
        """What lets images leave under thresholds."""

    def alone(self, exit_: int) -> Callable[[Tensor], object]:
        """What runs an exit as a static network."""

    def exits(self, thresholds: Sequence[float], images: Tensor) -> NDArray[np.int64]:
        """Where images leave, int64 [batch]."""


@dataclass(frozen=True)
class TorchRuns:
    """A network made ready for inference, run by torch; `autocast` is entered where exits count."""

    model: EarlyExitNet
    temperatures: Sequence[float] | None = None
    autocast: Autocast = nullcontext
    score: Score = ENTROPY

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return self.model.exit_count

    def leaving(self, thresholds: Sequence[float]) -> Callable[[Tensor], Routed]:
        """What lets images leave under thresholds."""
        return lambda images: route(self.model, images, thresholds, self.temperatures, self.score)

    def alone(self, exit_: int) -> Callable[[Tensor], object]:
        """What runs an exit as a static network."""
        return static_network(self.model, exit_)

    def exits(self, thresholds: Sequence[float], images: Tensor) -> NDArray[np.int64]:
        """Where images leave, int64 [batch]."""
        with self.autocast():
            found: NDArray[np.int64] = self.leaving(thresholds)(images).exit.cpu().numpy()
        return found


def measure_runs(
    runs: Runs,
    images: Tensor,
    batch: int,
    thresholds: Sequence[float] | None = None,
    *,
    repeats: int = ROUNDS,
    autocast: Autocast = nullcontext,
    tell: Tell = no_progress,
) -> BatchLatency:
    """Measure leaving at each exit, each exit as a static network, and the mix at thresholds.

    Args:
        runs: the network, in what computes it.
        images: real ones, normalised, [n, 3, height, width]; those that fill no batch are left out.
        batch: images in one call.
        thresholds: θ of the early exits; None: no end to end.
        repeats: rounds that count.
        autocast: what is entered around every call.
        tell: receives how many rounds are done, of how many.
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
    seconds = seconds_in_rounds(workloads, repeats, autocast, tell)
    timings = [Timing.of(found, batch) for found in seconds]
    end_to_end = None
    if thresholds is not None:
        mean = float(np.median(seconds[-1], axis=0).mean()) * 1000 / batch
        over = tuple(paired_ratio(seconds[-1], alone) for alone in seconds[count : 2 * count])
        end_to_end = EndToEnd(rates, mean, timings[-1], over)
    exits, static = tuple(timings[:count]), tuple(timings[count : 2 * count])
    return BatchLatency(batch, len(parts) * batch, exits, static, end_to_end)


def exit_latencies(
    runs: Runs,
    images: Tensor,
    batch: int = 1,
    repeats: int = ROUNDS,
    autocast: Autocast = nullcontext,
) -> list[float]:
    """Median milliseconds per image of leaving at each exit, deciding on the way included.

    As measured: a later exit can come out faster than one before it, where the machine is restless
    or a stage takes next to nothing. Arguments as in `measure_runs`.
    """
    workloads = _leaving_workloads(runs, _whole_batches(images, batch))
    seconds = seconds_in_rounds(workloads, repeats, autocast)
    return [Timing.of(found, batch).median for found in seconds]


def leaving_at(exit_: int, exit_count: int) -> list[float]:
    """Thresholds under which every image leaves at one exit (from 0), whatever the score."""
    return [math.inf if index == exit_ else 0.0 for index in range(exit_count - 1)]


def static_network(model: EarlyExitNet, exit_: int) -> nn.Module:
    """Stages up to an exit and its head alone: no earlier head, nothing decided."""
    return nn.Sequential(*model.stages[: exit_ + 1], model.heads[exit_])


def paired_ratio(one: FloatArray, other: FloatArray) -> float:
    """Median over rounds of one workload's time for a call over the other's."""
    return float(np.median(by_round(one) / by_round(other)))


def by_round(seconds: FloatArray) -> FloatArray:
    """Mean seconds of a call in each round [rounds], without the bursts that single calls meet."""
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
    """As many batches as do for one exit in one round: its cost is the same for every image."""
    return parts[: min(_PROBE_CALLS, max(1, _PROBE_IMAGES // len(parts[0])))]
