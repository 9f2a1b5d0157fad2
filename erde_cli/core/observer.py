"""How the core tells what it is doing; who shows it, and how, is not its business."""

from __future__ import annotations

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
    """A finished epoch; lists have one number per exit."""

    epoch: int
    epochs: int
    loss: float
    terms: dict[str, list[float]]
    accuracy_calibration: list[float]
    images_per_second: float
    seconds: float


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
    """Shows nothing; the command line overrides what it shows."""

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

    def step(self, event: StepEvent) -> None:
        """Tell how far an epoch is."""

    def epoch(self, event: EpochEvent) -> None:
        """Tell what an epoch gave."""
