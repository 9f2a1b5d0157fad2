"""How the core tells what it is doing; who shows it, and how, is not its business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StepEvent:
    """Progress inside an epoch; `terms` are means over the images since the last event."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    terms: dict[str, float]
    images_per_second: float


@dataclass(frozen=True)
class EpochEvent:
    """A finished epoch; lists have one number per exit.

    entropy_gaps: of every early exit in nats, as of `EntropyGap.gap`; none without a teacher.
    """

    epoch: int
    epochs: int
    loss: float
    terms: dict[str, list[float]]
    accuracy_calibration: list[float]
    images_per_second: float
    seconds: float
    entropy_gaps: Sequence[float | None] = ()


@dataclass(frozen=True)
class Table:
    """Something to look at before work begins: first column text, the others numbers.

    rows: the last one holds the totals. notes: lines below it.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


class Observer:
    """Shows nothing; the command line overrides what it shows.

    shows_progress: whether somebody sees how far the work is, and an estimate is worth a second.
    """

    shows_progress = False

    def phase(self, title: str) -> None:
        """Tell that a phase begins."""

    def note(self, message: str) -> None:
        """Tell something worth knowing."""

    def table(self, table: Table) -> None:
        """Show a table."""

    def warning(self, message: str, *, again: bool = False) -> None:
        """Tell something that the user should look into; once, or each time it happens again."""

    def progress(self, title: str, done: int, total: int) -> None:
        """Tell how far a countable piece of work is."""

    def count(self, title: str, done: int) -> None:
        """Tell how far a piece of work is whose end is not known."""

    def ahead(self, seconds: float) -> None:
        """Tell how long the work will take that comes after this training."""

    def step(self, event: StepEvent) -> None:
        """Tell how far an epoch is."""

    def epoch(self, event: EpochEvent) -> None:
        """Tell what an epoch gave."""


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
