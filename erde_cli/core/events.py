"""Events that the core reports while it works, and the listeners that receive them.

A listener is an `Observer` that overrides the events it needs. `Listeners` passes each event on to
several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal

from erde_cli.core.errors import InputError, brief

if TYPE_CHECKING:
    from erde_cli.core.arrays import ImageArray

Progress = Callable[[int, int], None]  # done, of how many
Role = Literal["teacher", "student"]
Status = Literal["finished", "stopped", "failed"]
Artifact = Literal[
    "bundle", "thresholds", "evaluation", "report", "comparison", "picture", "export"
]

VARIABLE = "ERDE_LISTENERS"


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

    entropy_gaps: `EntropyGap.gap` of every early exit, in nats; empty without a teacher.
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
    """A table shown before work begins: the first column is text, the others are numbers.

    rows: the last one holds the totals. notes: lines below the table.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


class Observer:
    """Receives all events and does nothing; a listener overrides the events it needs.

    shows_progress: whether progress is visible, so that an estimate of time is worth a second.
    wants_thumbnails: whether small calibration images are worth computing; the user must ask.
    """

    shows_progress = False
    wants_thumbnails = False

    def run_started(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        """Work on a run folder begins; the recipe is the mapping that its YAML holds."""

    def training_started(self, role: Role, epoch: int) -> None:
        """A training begins, or resumes after `epoch` epochs."""

    def metrics(self, role: Role, row: Mapping[str, Any]) -> None:
        """An epoch is finished: its whole row, just written to `metrics.jsonl`."""

    def artifact(self, path: Path, kind: Artifact) -> None:
        """A file or folder has been written, in a run or outside of one."""

    def thumbnails(self, name: str, pixels: ImageArray) -> None:
        """Small calibration images, uint8 [images, height, width, 3]; see `wants_thumbnails`."""

    def ended(self, status: Status) -> None:
        """Work on the run folder ended; `stopped`: by Ctrl-C or SIGTERM, progress is saved."""

    def phase(self, title: str) -> None:
        """A phase begins."""

    def note(self, message: str) -> None:
        """A message for the user."""

    def table(self, table: Table) -> None:
        """A table for the user."""

    def warning(self, message: str, *, again: bool = False) -> None:
        """A warning; shown once, or each time with `again`."""

    def progress(self, title: str, done: int, total: int) -> None:
        """Progress of work whose total is known."""

    def count(self, title: str, done: int) -> None:
        """Progress of work whose total is not known."""

    def ahead(self, seconds: float) -> None:
        """Estimated seconds of the work after this training."""

    def step(self, event: StepEvent) -> None:
        """Progress inside an epoch."""

    def epoch(self, event: EpochEvent) -> None:
        """An epoch is finished."""


class Listeners(Observer):
    """Passes every event on to several listeners, in order.

    Args:
        shown: the display of the command; its errors (such as a closed pipe) end the command.
        others: further listeners. One that raises an exception causes one warning and receives no
            further events, since no result depends on it.
    """

    def __init__(self, shown: Observer, *others: Observer) -> None:
        self._shown, self._others = shown, list(others)
        self.shows_progress = any(one.shows_progress for one in (shown, *others))
        self.wants_thumbnails = any(one.wants_thumbnails for one in (shown, *others))

    def _pass_on(self, event: str, *args: Any, **named: Any) -> None:
        getattr(self._shown, event)(*args, **named)
        for listener in tuple(self._others):
            if not any(listener is other for other in self._others):
                continue  # removed: it failed while it received a warning
            try:
                getattr(listener, event)(*deepcopy(args), **named)  # it could change them
            except Exception as error:  # noqa: BLE001 (a run continues without it)
                self._others = [other for other in self._others if other is not listener]
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self.warning(
                    f"The listener {type(listener).__name__} failed in {event} and receives no "
                    f"further events: {brief(reason)}"
                )


def _relayed(event: str) -> Callable[..., None]:
    return lambda self, *args, **named: self._pass_on(event, *args, **named)


EVENTS = tuple(name for name, value in vars(Observer).items() if callable(value))
for _event in EVENTS:
    setattr(Listeners, _event, _relayed(_event))


def named_listeners() -> list[Observer]:
    """The listeners that `$ERDE_LISTENERS` names: `module:Class`, separated by commas.

    A recipe cannot name one: recipes can come from strangers, and a listener is code that runs.

    Raises:
        InputError: one cannot be imported or created, or is not an Observer.
    """
    names = filter(None, (name.strip() for name in os.environ.get(VARIABLE, "").split(",")))
    return [_create(name) for name in names]


def _create(name: str) -> Observer:
    try:
        listener = resolve_name(name)() if ":" in name else None
        reason = "it is not an Observer of erde_cli.core.events"
    except Exception as error:  # noqa: BLE001 (a module can raise anything)
        listener, reason = None, " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(listener, Observer):
        return listener
    raise InputError(
        f"${VARIABLE} names a listener that cannot be used: {brief(reason)}",
        got=brief(name),
        expected="module:Class, separated by commas",
        hint=f"install its module, or unset {VARIABLE}",
    )
