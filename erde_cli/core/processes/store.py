"""The store of the processes of one training: short texts, waiting, and which process has ended.

It is that of `torch.distributed`, which asks for no password, so what others have written is
untrusted. Texts are JSON within limits: torch's collectives of objects unpickle what they receive.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from torch.distributed import Store  # type: ignore[attr-defined]

from erde_cli.core.errors import InputError
from erde_cli.core.processes.connection import CONNECT, first_line, unconnected
from erde_cli.core.processes.environment import Place
from erde_cli.core.processes.lost import LostProcessError, lost_processes, process_exists

_POLL = 0.05  # seconds
_LOOK = 0.5  # seconds between two looks at the other processes
_EXIT_WITHIN = 5.0  # seconds between the end of a connection and that of its process
_SERVE_FOR = 20.0  # seconds at the end, until the others do not need the store any more
_LONGEST = 1_000_000  # bytes of a text; a recipe has at most 200,000 characters
_DIGITS = 9  # of the number of a process

Texts = dict[str, str]
_Result = TypeVar("_Result")


class SharedStore:
    """What the processes of one training tell each other.

    serves: whether this process serves the store, which ends with it. failing: whether this process
    is about to end with an error.
    """

    def __init__(self, store: Store, place: Place) -> None:
        self._store, self._rank, self._size = store, place.rank, place.world_size
        self.serves = place.rank == 0 and not place.served
        self._place = place
        self._met_by: float | None = time.monotonic() + CONNECT.total_seconds()
        self._neighbours: dict[int, int] = {}  # process number of ranks on this host
        self.failing = False

    def introduce(self) -> None:
        """Tell the others which process this is, and wait until all have done so.

        Raises:
            InputError: another process has the same rank, or one has not come.
        """
        if self.count(f"rank/{self._rank}") > 1:
            raise InputError(
                f"Two processes have the rank {self._rank}.",
                got=f"RANK={self._rank} twice",
                expected=f"each of 0 … {self._size - 1} once",
                hint="start all processes with torchrun, which counts them",
            )
        here = _host()
        self.put(f"process/{self._rank}", {"host": here, "number": str(os.getpid())})
        for rank in range(self._size):
            other = self.take(f"process/{rank}")
            number = other.get("number", "")
            if rank != self._rank and other.get("host") == here and _is_number(number):
                self._neighbours[rank] = int(number)
        self._met_by = None

    def put(self, key: str, texts: Mapping[str, str]) -> None:
        """Store texts for the other processes."""
        self.asked(lambda: self._store.set(key, json.dumps(texts)))

    def take(self, key: str) -> Texts:
        """Wait for the texts of a key.

        Raises:
            InputError: they are not texts, or too long.
            LostProcessError: a process has ended meanwhile.
        """
        self.wait(lambda: self._store.check([key]))
        content: bytes = self.asked(lambda: self._store.get(key))
        return _texts(key, content)

    def count(self, key: str, number: int = 1) -> int:
        """Add a number to a counter, and return its new value."""
        return self.asked(lambda: self._add(key, number))

    def wait(self, done: Callable[[], bool]) -> None:
        """Wait until something is done, however long that takes.

        Raises:
            LostProcessError: a process has ended meanwhile.
            InputError: not all processes have come, of other hosts for example.
        """
        look = time.monotonic()
        while not self.asked(done):
            if self._met_by is not None and time.monotonic() > self._met_by:
                limit = f"{CONNECT.total_seconds() / 60:g} minutes"
                raise unconnected(self._place, f"not all have answered within {limit}.")
            if time.monotonic() >= look:
                look = time.monotonic() + _LOOK
                # One can have ended just now because it was the last that was waited for.
                if (self._ended() or self._failed()) and not self.asked(done):
                    raise self._lost("")
            time.sleep(_POLL)

    def asked(self, call: Callable[[], _Result]) -> _Result:
        """Result of a call that needs the other processes.

        Raises:
            LostProcessError: they cannot be reached any more.
        """
        try:
            return call()
        except RuntimeError as error:
            raise self._lost(first_line(error)) from error

    def is_near(self, rank: int) -> bool:
        """Whether another process is on this host."""
        return rank in self._neighbours

    def lost(self) -> LostProcessError | None:
        """The error to report at once if another process has ended; None if none has."""
        with suppress(RuntimeError):
            if self._parted():  # it has done its part, or is about to report
                return None
        return self._lost("") if self._ended() else None

    def may_report(self) -> bool:
        """Whether this process is the first that fails, so that one message is shown."""
        self.failing = True
        try:
            first = self._add("failed") == 1
        except RuntimeError:  # the store has ended, and so has rank 0 if it served it
            return self._rank == 1
        self.part()
        return first

    def part(self) -> None:
        """Use the store no more; the process that serves it waits a moment for the others."""
        with suppress(RuntimeError):
            self._add(f"parted/{self._rank}")
            end = time.monotonic() + _SERVE_FOR
            while (
                self.serves
                and len(self._parted().union(self._ended())) < self._size
                and time.monotonic() < end
            ):
                time.sleep(_POLL)

    def _lost(self, reason: str) -> LostProcessError:
        """The error for a connection that has ended: which process, and why if that is known."""
        self.failing = True
        end = time.monotonic() + _EXIT_WITHIN
        ended = self._ended()
        while not ended and not self._failed() and time.monotonic() < end:
            time.sleep(_POLL)
            ended = self._ended()
        if self._failed():
            self.part()
            return LostProcessError("Another process has failed.", reported=True)
        if 0 in ended and not self._answers():
            ended = [0]  # it served the store, and others have ended because of that
        reason = f"Rank {self._rank} has lost the connection to other processes: {reason}"
        return lost_processes(ended, otherwise=reason)

    def _answers(self) -> bool:
        with suppress(RuntimeError):
            return self._add("failed", 0) >= 0
        return False

    def _failed(self) -> bool:
        with suppress(RuntimeError):
            return self._add("failed", 0) > 0
        return False

    def _parted(self) -> set[int]:
        return {rank for rank in range(self._size) if self._add(f"parted/{rank}", 0) > 0}

    def _ended(self) -> list[int]:
        """Ranks on this host whose process does not exist any more."""
        return [rank for rank, number in self._neighbours.items() if not process_exists(number)]

    def _add(self, key: str, number: int = 1) -> int:
        return int(self._store.add(key, number))


def _texts(key: str, content: bytes) -> Texts:
    """Texts that another process has stored; they are untrusted."""
    try:
        if len(content) > _LONGEST:
            raise ValueError(f"it has more than {_LONGEST:,} bytes")
        found = json.loads(content)
        if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
            raise ValueError("it is not an object of texts")
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"Another process has sent what erde does not send ({key}): {error}.",
            expected=f"JSON of at most {_LONGEST:,} bytes: one object, whose values are texts",
            hint="let only processes of one erde command use this --master-port",
        ) from error
    return found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS


def _host() -> str:
    """The host, and its namespace of process numbers: containers may share the name of a host."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)
