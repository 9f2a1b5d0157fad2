"""Processes that have ended too early: the error, and how to notice it before all have met.

torchrun gives each process it starts a folder, ATTEMPT/LOCAL_RANK, for `error.json`. There a
process also keeps a file with its number, from its first line of Python until it knows the others.
Another file, in ATTEMPT, says that a process of this host has reported why all of them end.
Imports no torch, which takes seconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from erde_cli.core.errors import ErdeError

_STARTING, _REPORTED = "erde-starting", "erde-reported"  # names of the files
_LARGEST, _DIGITS = 64, 9  # bytes of the first, and of the number of a process
_ERROR_FILE = "TORCHELASTIC_ERROR_FILE"  # set by torchrun


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
    with suppress(OSError, ValueError):
        if (own := _own_folder()) is not None:
            text = f"{os.getpid()} {int(os.environ['RANK'])}"
            (own / _STARTING).write_text(text, encoding="utf-8")


def started() -> None:
    """Note that this process knows the others now, or ends by itself."""
    with suppress(OSError, ValueError):
        if (own := _own_folder()) is not None:
            (own / _STARTING).unlink(missing_ok=True)


def lost_at_start() -> list[int]:
    """Ranks of this host whose process was killed before all have met."""
    with suppress(OSError, ValueError):
        if (own := _own_folder()) is not None:
            found = (_killed(path) for path in own.parent.glob(f"*/{_STARTING}"))
            return sorted(rank for rank in found if rank is not None)
    return []


def claims_report(otherwise: bool = True) -> bool:
    """Whether this process is the first of its host that reports why all end.

    otherwise: the answer where torchrun has not started it.
    """
    own = _own_folder()
    if own is None:
        return otherwise
    try:
        (own.parent / _REPORTED).touch(exist_ok=False)
    except FileExistsError:
        return False
    except (OSError, ValueError):
        return otherwise
    return True


def _killed(path: Path) -> int | None:
    """The rank that wrote a file, if its process does not exist any more."""
    with suppress(OSError, ValueError), path.open(encoding="utf-8") as file:
        number, rank = file.read(_LARGEST).split()
        if len(number) <= _DIGITS and int(number) > 0 and not process_exists(int(number)):
            return int(rank)
    return None


def _own_folder() -> Path | None:
    error_file = os.environ.get(_ERROR_FILE)
    return Path(error_file).parent if error_file else None
