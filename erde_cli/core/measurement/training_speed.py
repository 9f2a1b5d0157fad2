"""Speed of training steps under several settings, measured in turn; what it means, and no advice.

A figure depends on whatever else the machine does. So all candidates are measured in rounds, one
after the other, and compared round by round; nothing in erde but `erde tune` reads a timing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from erde_cli.core.device import Layout, Precision
from erde_cli.core.errors import ErdeError

_HOPELESS = 4  # a candidate so many times slower than the fastest is measured once only
_LEAST, _MOST = 60.0, 900.0  # seconds that are waited for an answer, whatever is to be done
_PATIENCE = 20  # times what the quickest first step took; who takes longer is hopeless


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


class TrialError(ErdeError):
    """A candidate cannot be measured; the message says why, in a few words."""


class Trial(Protocol):
    """What trains in the way of a candidate."""

    def __call__(self, steps: int, limit: float) -> float:
        """Images per second over a number of steps.

        Raises:
            TrialError: it crashed, has not answered within `limit` seconds, or cannot be done.
        """
        ...

    def close(self) -> None:
        """Give back what it holds; it is not called again."""
        ...


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

    def factor(self, candidate: Candidate, over: Candidate) -> Spread | None:
        """How many times as fast as another, compared round by round; None: that has no figures."""
        if over not in self.found:
            return None
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
        five rounds often is. Anything is a gain over what has no figures.
        """
        if over not in self.found:
            return True
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
        trials: what trains in the way of each candidate; closed as soon as it is not needed.
        now: the candidate that the others are compared with; it is measured in every round.
        steps: steps of one trial.
        rounds: trials of each candidate.
        tell: receives how many steps are done, of how many.

    Raises:
        ErdeError: no candidate can be measured.
    """
    run = _Rounds(trials, now, steps, rounds, tell)
    try:
        run.first_steps()
        for round_ in range(rounds):
            run.round(round_)
    finally:
        for trial in trials.values():
            trial.close()
    tell(run.total, run.total)
    if not run.figures:
        reasons = "; ".join(f"{one}: {why}" for one, why in run.skipped.items())
        raise ErdeError(
            "Nothing could be measured.",
            got=reasons,
            expected="settings that this machine can train with",
            hint="try --threads 1, or a smaller training.teacher.batch_size",
        )
    return Speeds(run.figures, run.skipped)


class _Rounds:
    """Rounds under way: figures, those who still run, and steps done of how many."""

    def __init__(
        self,
        trials: Mapping[Candidate, Trial],
        now: Candidate,
        steps: int,
        rounds: int,
        tell: Callable[[int, int], None],
    ) -> None:
        self._trials, self._now, self._tell = trials, now, tell
        self._steps, self._rounds = steps, rounds
        self._first: dict[Candidate, float] = {}  # images per second of the first step
        self._patience: dict[Candidate, float] = {}  # seconds, for `steps` steps
        self._running: list[Candidate] = []
        self.figures: dict[Candidate, list[float]] = {}
        self.skipped: dict[Candidate, str] = {}
        self._done, self.total = 0, len(trials) * (1 + rounds * steps)

    def first_steps(self) -> None:
        """Take a step of each, which may hold a start or a compilation and does not count."""
        limit = _MOST
        for candidate, trial in self._trials.items():
            start = perf_counter()
            try:
                speed = trial(1, _MOST if candidate.compile else limit)
            except TrialError as error:
                self._leave_out(candidate, error.message, self._rounds)
            else:
                took = perf_counter() - start
                self._first[candidate] = speed
                self._patience[candidate] = max(_LEAST, _PATIENCE * took * self._steps)
                self._running.append(candidate)
                limit = min(limit, max(_LEAST, _PATIENCE * took))
            self._step(1)

    def round(self, round_: int) -> None:
        """Take a figure of each that still runs; after the first round, drop the hopeless."""
        for candidate in list(self._running):
            # What was slow in its first step may still be slow to begin: one more step tells.
            slow = round_ == 0 and self._first[candidate] < max(self._first.values()) / _HOPELESS
            length = 1 if slow else self._steps
            try:
                figure = self._trials[candidate](length, self._patience[candidate])
            except TrialError as error:
                self._leave_out(candidate, error.message, self._rounds - round_)
                self.figures.pop(candidate, None)  # what crashes now and then is of no use
                continue
            self.figures.setdefault(candidate, []).append(figure)
            self.total -= self._steps - length
            self._step(length)
        if round_ == 0 and self.figures:
            enough = max(figures[0] for figures in self.figures.values()) / _HOPELESS
            for candidate in list(self._running):
                if candidate != self._now and self.figures[candidate][0] < enough:
                    self._stop(candidate, self._rounds - 1)

    def _leave_out(self, candidate: Candidate, reason: str, rounds_left: int) -> None:
        self.skipped[candidate] = reason
        self._stop(candidate, rounds_left)

    def _stop(self, candidate: Candidate, rounds_left: int) -> None:
        if candidate in self._running:
            self._running.remove(candidate)
        self.total -= rounds_left * self._steps
        self._trials[candidate].close()

    def _step(self, count: int) -> None:
        self._done += count
        self._tell(min(self._done, self.total - 1), self.total)
