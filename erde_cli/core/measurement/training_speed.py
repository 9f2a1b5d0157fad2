"""Speed of training steps under several settings, for `erde tune`.

Other load on the machine changes the speed. All candidates are therefore measured in interleaved
rounds and compared round by round.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from erde_cli.core.device import Layout, Precision
from erde_cli.core.errors import ErdeError
from erde_cli.core.events import Progress
from erde_cli.core.figures import counted

_HOPELESS = 4  # a candidate this many times slower than the fastest is measured only once
_LEAST, _MOST = 60.0, 900.0  # limits of the time that a trial has, in seconds
_PATIENCE = 20  # time limit, in durations of the quickest first step


@dataclass(frozen=True)
class Candidate:
    """Settings that change the speed of training."""

    precision: Precision
    memory_format: Layout
    threads: int
    compile: bool = False

    def __str__(self) -> str:
        compiled = ", compiled" if self.compile else ""
        threads = counted(self.threads, "thread")
        return f"{self.precision}, {self.memory_format}, {threads}{compiled}"


class TrialError(ErdeError):
    """A candidate cannot be measured; the message is short."""


class Trial(Protocol):
    """Training with the settings of a candidate."""

    def __call__(self, steps: int, limit: float) -> float:
        """Images per second over a number of steps.

        Raises:
            TrialError: it crashed, did not answer within `limit` seconds, or is impossible here.
        """
        ...

    def close(self) -> None:
        """Free its resources; it is not called again."""
        ...


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest value."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Median, smallest and largest."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Speeds:
    """Images per second of each candidate, one figure per round; reasons of skipped ones."""

    found: dict[Candidate, list[float]]
    skipped: dict[Candidate, str]

    def spread(self, candidate: Candidate) -> Spread:
        """Images per second."""
        return Spread.of(self.found[candidate])

    def factor(self, candidate: Candidate, over: Candidate) -> Spread | None:
        """Speed relative to another, compared round by round; None: the other has no figures."""
        if over not in self.found:
            return None
        pairs = zip(self.found[candidate], self.found[over], strict=False)
        return Spread.of([one / other for one, other in pairs])

    @property
    def fastest(self) -> Candidate:
        """The candidate with the largest median, of those measured in all rounds."""
        rounds = max(len(figures) for figures in self.found.values())
        whole = [name for name, figures in self.found.items() if len(figures) == rounds]
        return max(whole, key=lambda name: self.spread(name).median)

    def clear_gain(self, over: Candidate) -> bool:
        """Whether every figure of the fastest is above every figure of another.

        Being above in each round is not enough: of a dozen equal candidates, the best of five
        rounds often is. True if the other has no figures.
        """
        if over not in self.found:
            return True
        return self.spread(self.fastest).low > self.spread(over).high


def measure(
    trials: Mapping[Candidate, Trial],
    now: Candidate,
    steps: int,
    rounds: int,
    progress: Progress,
) -> Speeds:
    """Run all trials in turn, `rounds` times, after a warm-up step of each.

    Args:
        trials: the training of each candidate; closed as soon as possible.
        now: the candidate that the others are compared with; it is measured in all rounds.
        steps: steps in one round.
        rounds: number of rounds.
        progress: receives the number of steps done, and of all.

    Raises:
        ErdeError: no candidate can be measured.
    """
    run = _Rounds(trials, now, steps, rounds, progress)
    try:
        run.first_steps()
        for round_ in range(rounds):
            run.round(round_)
    finally:
        for trial in trials.values():
            trial.close()
    progress(run.total, run.total)
    if not run.figures:
        raise ErdeError(
            "Nothing could be measured.",
            got="; ".join(f"{one}: {reason}" for one, reason in run.skipped.items()),
            expected="settings that this machine can train with",
            hint="try --threads 1, or a smaller training.teacher.batch_size",
        )
    return Speeds(run.figures, run.skipped)


class _Rounds:
    """State of the rounds: figures, running candidates, steps done and to do."""

    def __init__(
        self,
        trials: Mapping[Candidate, Trial],
        now: Candidate,
        steps: int,
        rounds: int,
        progress: Progress,
    ) -> None:
        self._trials, self._now, self._progress = trials, now, progress
        self._steps, self._rounds = steps, rounds
        self._first: dict[Candidate, float] = {}  # images per second of the first step
        self._limits: dict[Candidate, float] = {}  # seconds that `steps` steps can take
        self._running: list[Candidate] = []
        self.figures: dict[Candidate, list[float]] = {}
        self.skipped: dict[Candidate, str] = {}
        self._done, self.total = 0, len(trials) * (1 + rounds * steps)

    def first_steps(self) -> None:
        """Run a warm-up step of each, which can include a start or a compilation."""
        limit = _MOST
        for candidate, trial in self._trials.items():
            start = perf_counter()
            try:
                speed = trial(1, _MOST if candidate.compile else limit)
            except TrialError as error:
                self._leave_out(candidate, error.message, self._rounds)
            else:
                seconds = perf_counter() - start
                self._first[candidate] = speed
                self._limits[candidate] = max(_LEAST, _PATIENCE * seconds * self._steps)
                self._running.append(candidate)
                limit = min(limit, max(_LEAST, _PATIENCE * seconds))
            self._step(1)

    def round(self, round_: int) -> None:
        """Measure each running candidate once; after the first round, drop the hopeless ones."""
        for candidate in list(self._running):
            # A slow first step can be a slow start: one more step decides.
            slow = round_ == 0 and self._first[candidate] < max(self._first.values()) / _HOPELESS
            length = 1 if slow else self._steps
            try:
                figure = self._trials[candidate](length, self._limits[candidate])
            except TrialError as error:
                self._leave_out(candidate, error.message, self._rounds - round_)
                self.figures.pop(candidate, None)  # a candidate that can crash is of no use
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
        self._progress(min(self._done, self.total - 1), self.total)
