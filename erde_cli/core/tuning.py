"""Speed of training steps under several settings, measured in turn; what it means, and no advice.

A figure depends on whatever else the machine does. So all candidates are measured in rounds, one
after the other, and compared round by round; nothing in erde but `erde tune` reads a timing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import torch

from erde_cli.core.context import Context, Layout, Precision
from erde_cli.core.data import Batch
from erde_cli.core.models import EarlyExitNet
from erde_cli.core.recipe import Training
from erde_cli.core.train_state import TrainState
from erde_cli.core.training import Objective, train_step

Trial = Callable[[int], float]  # steps → images per second
_RATE = 1e-6  # hardly moves the weights, so that no candidate ends in infinities
_HOPELESS = 4  # a candidate so many times slower than the fastest is measured once only


@dataclass(frozen=True)
class Candidate:
    """Settings that change the speed of training."""

    precision: Precision
    memory_format: Layout
    threads: int
    compile: bool = False

    def __str__(self) -> str:
        compiled = ", compiled" if self.compile else ""
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{self.precision}, {self.memory_format}, {threads}{compiled}"


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some figures."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Median, smallest and largest."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Speeds:
    """Images per second of each candidate, one figure a round; why others were not measured."""

    found: dict[Candidate, list[float]]
    skipped: dict[Candidate, str]

    def spread(self, candidate: Candidate) -> Spread:
        """Images per second."""
        return Spread.of(self.found[candidate])

    def factor(self, candidate: Candidate, over: Candidate) -> Spread:
        """How many times as fast as another, compared round by round."""
        pairs = zip(self.found[candidate], self.found[over], strict=False)
        return Spread.of([one / other for one, other in pairs])

    @property
    def fastest(self) -> Candidate:
        """The candidate with the largest median, of those measured in every round."""
        rounds = max(len(figures) for figures in self.found.values())
        whole = [name for name, figures in self.found.items() if len(figures) == rounds]
        return max(whole, key=lambda name: self.spread(name).median)

    def clear_gain(self, over: Candidate) -> bool:
        """Whether every figure of the fastest is above every figure of another.

        Being above it in each round would be too little: of a dozen equal candidates, the best of
        five rounds often is.
        """
        return self.spread(self.fastest).low > self.spread(over).high


def measure(
    trials: Mapping[Candidate, Trial],
    now: Candidate,
    steps: int,
    rounds: int,
    tell: Callable[[int, int], None],
) -> Speeds:
    """Run all trials in turn, `rounds` times, after one step each that does not count.

    Args:
        trials: what runs a number of steps of each candidate.
        now: the candidate that the others are compared with; it is measured in every round.
        steps: steps of one trial.
        rounds: trials of each candidate.
        tell: is told how many steps are done, of how many.
    """
    total = len(trials) * (1 + rounds * steps)
    first, skipped = _first_steps(trials, now, lambda done: tell(done, total))
    done, total = len(trials), total - len(skipped) * rounds * steps
    found: dict[Candidate, list[float]] = {candidate: [] for candidate in first}
    running = list(found)
    for round_ in range(rounds):
        for candidate in running:
            # What was slow in its first step may still be slow to begin: one more step tells.
            slow = round_ == 0 and first[candidate] < max(first.values()) / _HOPELESS
            length = 1 if slow else steps
            found[candidate].append(trials[candidate](length))
            done, total = done + length, total - (steps - length)
            tell(min(done, total - 1), total)
        if round_ == 0:
            enough = max(figures[0] for figures in found.values()) / _HOPELESS
            running = [name for name in running if name == now or found[name][0] >= enough]
            total -= (len(found) - len(running)) * (rounds - 1) * steps
    tell(total, total)
    return Speeds(found, skipped)


def _first_steps(
    trials: Mapping[Candidate, Trial], now: Candidate, tell: Callable[[int], None]
) -> tuple[dict[Candidate, float], dict[Candidate, str]]:
    """Speed of each candidate's first step, and why others cannot take one."""
    first: dict[Candidate, float] = {}
    skipped: dict[Candidate, str] = {}
    for done, (candidate, trial) in enumerate(trials.items(), 1):
        try:
            first[candidate] = trial(1)
        except RuntimeError as error:
            if candidate == now:
                raise
            skipped[candidate] = str(error).splitlines()[0]
        tell(done)
    return first, skipped


def training_trial(
    threads: int,
    model: EarlyExitNet,
    settings: Training,
    context: Context,
    batch: Batch,
    objective: Objective,
) -> Trial:
    """Trial that trains on one batch again and again: forward, losses, backward, clipping, step."""
    context.place(model)
    model.train()
    state = TrainState(model, settings)

    def run(steps: int) -> float:
        torch.set_num_threads(threads)
        start = perf_counter()
        for _ in range(steps):
            loss = train_step(state, batch, objective, settings, _RATE, context).loss
            state.step += 1
        float(loss)  # waits for the device
        return steps * len(batch.labels) / (perf_counter() - start)

    return run
