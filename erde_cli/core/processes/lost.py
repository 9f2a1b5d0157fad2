"""Processes that have ended too early: the error, and how to notice it before all have met.

torchrun gives each process it starts a folder, ATTEMPT/LOCAL_RANK, for `error.json`. There a
process also keeps a file with its number, from its first line of Python until it knows the others.
Imports no torch, which takes seconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from erde_cli.core.errors import ErdeError

_STARTING = "erde-starting"  # name of the file
_LARGEST = 64  # bytes of it
_FOLDER_OF = "TORCHELASTIC_ERROR_FILE"  # set by torchrun


class LostProcessError(ErdeError):
    """Another process has ended. `reported`: it has shown the reason itself."""

    def __init__(self, message: str, *, reported: bool = False, hint: str = "") -> None:
        super().__init__(message, expected="all processes of the training", hint=hint)
        self.reported = reported


def lost_processes(ranks: Sequence[int], otherwise: str = "") -> LostProcessError:
    """The error for processes that ended without a message; `otherwise` if none is known."""
    message = otherwise
    if ranks:
        named = f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
        message = f"The training has lost {named}: killed, or ended without a message."
    return LostProcessError(
        message,
        hint="type the same command again (train-teacher and distill: with --resume); it goes "
        "on from the last saved state",
    )


def process_exists(number: int) -> bool:
    """Whether a process exists and has not ended; one that nobody waits for counts as ended."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if sys.platform != "linux":
        return True
    with suppress(OSError):
        state = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        return state.split()[0] not in "ZX"
    return False


def starts() -> None:
    """Note that this process starts, if torchrun has started it."""
    own = _own_file()
    if own is not None:
        with suppress(OSError):
            own.write_text(f"{os.getpid()} {os.environ.get('RANK', '')}", encoding="utf-8")


def started() -> None:
    """Note that this process knows the others now, or ends by itself."""
    own = _own_file()
    if own is not None:
        with suppress(OSError):
            own.unlink(missing_ok=True)


def lost_at_start() -> list[int]:
    """Ranks of this host whose process was killed before all have met.

    Only one process is told so of each of them.
    """
    own = _own_file()
    if own is None:
        return []
    return sorted(
        rank
        for path in own.parent.parent.glob(f"*/{_STARTING}")
        if (rank := _killed(path)) is not None
    )


def _killed(path: Path) -> int | None:
    """The rank that wrote a file, if its process does not exist any more; removes the file."""
    try:
        with path.open(encoding="utf-8") as file:
            number, rank = map(int, file.read(_LARGEST).split())
        if number <= 0 or process_exists(number):
            return None
        path.unlink()  # only one process can
    except (OSError, ValueError):
        return None
    return rank


def _own_file() -> Path | None:
    error_file = os.environ.get(_FOLDER_OF)
    return Path(error_file).with_name(_STARTING) if error_file else None
