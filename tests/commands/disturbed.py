"""Commands of erde of which something goes wrong in one of several processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NoReturn

from erde_cli.core.errors import DataError
from erde_cli.core.training.epochs import TrainingRecorder
from tests.ranks import erde

ERRORS: dict[str, Callable[[], Exception]] = {
    "data": lambda: DataError("Cannot read cat.png: it has no pixels.", hint="remove it"),
    "bug": lambda: ZeroDivisionError("none of zero"),
    "memory": lambda: MemoryError("none left"),
    "disk": lambda: OSError(28, "No space left on device", "cat.png"),
}


def _after(role: str, step: int, act: Callable[[], object]) -> None:
    """Do something after a step of a network's training."""
    after_step = TrainingRecorder.after_step

    def changed(self: TrainingRecorder, state: Any) -> None:
        if self._logs.name == role and state.step == step:
            act()
        after_step(self, state)

    TrainingRecorder.after_step = changed  # type: ignore[method-assign]


def signalled(at: tuple[str, int], signals: dict[str, int], *arguments: str) -> NoReturn:
    """A command in which processes get signals, by rank, after a step of a network's training."""
    number = signals.get(os.environ["RANK"])
    if number is not None:
        _after(*at, lambda: os.kill(os.getpid(), number))
    erde(*arguments)


def failing(at: tuple[str, int], rank: int, error: str, *arguments: str) -> NoReturn:
    """A command in which one process has an error after a step of a network's training."""

    def fail() -> None:
        raise ERRORS[error]()

    if os.environ["RANK"] == str(rank):
        _after(*at, fail)
    erde(*arguments)
