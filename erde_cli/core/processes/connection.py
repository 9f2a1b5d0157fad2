"""How the processes of one training find each other."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from threading import Thread

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from erde_cli.core.errors import InputError
from erde_cli.core.processes.environment import Place

CONNECT = timedelta(minutes=3)  # until all processes have started
_SILENT = 15.0  # seconds of it, after which a process tells what it waits for
_LATER = 5.0  # seconds after it, in which torch's own waiting ends


def open_store(place: Place, note: Callable[[str], None]) -> Store:
    """The store at the place where the processes meet.

    A thread waits for it: torch's own waiting does not end by Ctrl-C, and not at all if another
    program has the port.

    Args:
        place: from the environment.
        note: receives a message about what this process waits for, if that takes long.

    Raises:
        InputError: there is none, or not all processes have come.
    """
    found: list[Store] = []
    reasons: list[str] = []

    def connect() -> None:
        try:
            found.append(
                next(rendezvous("env://", place.rank, place.world_size, timeout=CONNECT))[0]
            )
        except (RuntimeError, ValueError, OSError) as error:
            reasons.append(first_line(error))

    waiting = Thread(target=connect, daemon=True)
    waiting.start()
    waiting.join(_SILENT)
    limit = f"{CONNECT.total_seconds() / 60:g} minutes"
    if waiting.is_alive():
        note(f"Rank {place.rank} waits for the others at {place.address}:{place.port} ({limit}).")
    waiting.join(max(0, CONNECT.total_seconds() + _LATER - _SILENT))
    if not found:
        raise unconnected(place, reasons[0] if reasons else f"no answer within {limit}.")
    # torchrun keeps its store when it starts the processes again.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"attempt/{attempt}", found[0])


def unconnected(place: Place, reason: str) -> InputError:
    """The error for a process that cannot be connected with the others."""
    return InputError(
        f"Rank {place.rank} cannot connect to the other processes: {reason}",
        got=f"MASTER_ADDR={place.address}, MASTER_PORT={place.port}",
        expected=f"{place.world_size} processes, a host that all reach, and a port that no other "
        "program uses",
        hint="start all processes with torchrun, and another --master-port",
    )


def first_line(error: Exception) -> str:
    """The first line of an error's text, or the error's class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
