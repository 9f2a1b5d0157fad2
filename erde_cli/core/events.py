"""How the core tells what it is doing; who listens, and what for, is not its business.

A listener is an `Observer` that overrides what it wants to know; `Listeners` tells several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

from erde_cli.core.errors import InputError, brief

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
    """Hears everything and does nothing; a listener overrides what it wants to know.

    shows_progress: whether somebody sees how far the work is, and an estimate is worth a second.
    """

    shows_progress = False

    def run_started(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        """Work on a run folder begins; the recipe is what YAML would hold."""

    def training_started(self, role: Role, epoch: int) -> None:
        """A training begins, or goes on after so many epochs."""

    def metrics(self, role: Role, row: Mapping[str, Any]) -> None:
        """An epoch is finished: its whole row, just written to `metrics.jsonl`."""

    def artifact(self, path: Path, kind: Artifact) -> None:
        """A file or a folder has been written; outside of a run as well."""

    def ended(self, status: Status) -> None:
        """Work on the run folder ended: `stopped` by Ctrl-C or SIGTERM, all saved."""

    def phase(self, title: str) -> None:
        """A phase begins."""

    def note(self, message: str) -> None:
        """Something worth knowing."""

    def table(self, table: Table) -> None:
        """Show a table."""

    def warning(self, message: str, *, again: bool = False) -> None:
        """Something that the user should look into; shown once, or each time it happens again."""

    def progress(self, title: str, done: int, total: int) -> None:
        """Progress of a countable piece of work."""

    def count(self, title: str, done: int) -> None:
        """Progress of a piece of work whose end is not known."""

    def ahead(self, seconds: float) -> None:
        """Seconds that the work after this training will take."""

    def step(self, event: StepEvent) -> None:
        """Progress inside an epoch."""

    def epoch(self, event: EpochEvent) -> None:
        """An epoch is finished."""


class Listeners(Observer):
    """Tells each of several listeners everything, in their order.

    shown: what a person looks at; its errors are the command's own, such as a closed pipe.
    others: whoever else listens. No result depends on them, so one that raises an exception is
        named in a warning, once, and receives nothing from then on.
    """

    def __init__(self, shown: Observer, *others: Observer) -> None:
        self._shown, self._others = shown, list(others)
        self.shows_progress = any(one.shows_progress for one in (shown, *others))

    def _tell(self, event: str, *args: Any, **named: Any) -> None:
        getattr(self._shown, event)(*args, **named)
        for listener in tuple(self._others):
            if not any(listener is other for other in self._others):
                continue  # it failed in the warning of another's failure
            try:
                getattr(listener, event)(*deepcopy(args), **named)  # whatever it does with them
            except Exception as error:  # noqa: BLE001 (whoever wrote it, a run goes on without it)
                self._others = [other for other in self._others if other is not listener]
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self.warning(
                    f"The listener {type(listener).__name__} failed in {event} and is told nothing "
                    f"from now on: {brief(reason)}"
                )


def _relayed(event: str) -> Callable[..., None]:
    return lambda self, *args, **named: self._tell(event, *args, **named)


EVENTS = tuple(name for name, value in vars(Observer).items() if callable(value))
for _event in EVENTS:
    setattr(Listeners, _event, _relayed(_event))


def named_listeners() -> list[Observer]:
    """The listeners that `$ERDE_LISTENERS` names: `module:Class`, and more behind commas.

    No recipe can name one, since a recipe may be a stranger's and a listener is code that runs.

    Raises:
        InputError: one cannot be imported or made, or is no Observer.
    """
    names = filter(None, (name.strip() for name in os.environ.get(VARIABLE, "").split(",")))
    return [_made(name) for name in names]


def _made(name: str) -> Observer:
    try:
        listener = resolve_name(name)() if ":" in name else None
        reason = "it is no Observer of erde_cli.core.events"
    except Exception as error:  # noqa: BLE001 (what a module raises that is imported is its own)
        listener, reason = None, " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(listener, Observer):
        return listener
    raise InputError(
        f"${VARIABLE} names a listener that cannot be used: {brief(reason)}",
        got=brief(name),
        expected="module:Class, separated by commas",
        hint=f"install its module, or unset {VARIABLE}",
    )
