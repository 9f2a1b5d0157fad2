"""Peak anonymous memory while a block runs; Linux only.

Anonymous memory is not backed by a file, so the system cannot drop it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Self

STATUS = Path("/proc/self/status")


class Peak:
    """Largest value of `held`, in bytes, while the block runs; read every so many seconds."""

    def __init__(self, held: Callable[[], int], every: float) -> None:
        self._held, self._every = held, every

    def __enter__(self) -> Self:
        self.value = 0
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        self._read()
        while not self._over.wait(self._every):
            self._read()
        self._read()

    def _read(self) -> None:
        self.value = max(self.value, self._held())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def of_process() -> int:
    """Resident anonymous memory of this process in bytes."""
    text = STATUS.read_text() if STATUS.is_file() else ""
    found = re.search(r"RssAnon:\s+(\d+) kB", text)
    if found is None:
        raise SystemExit(f"{STATUS} has no RssAnon: this needs Linux 4.5 or newer.")
    return int(found[1]) * 1024


def of_process_and_workers() -> int:
    """Anonymous memory of this process and its children in bytes; slower to read.

    Shared pages count in equal parts, and a process that has ended counts as 0.
    """
    return sum(map(_shared_in_parts, [os.getpid(), *_children()]))


def _shared_in_parts(process: int) -> int:
    with suppress(OSError):
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
        found = re.search(r"Pss_Anon:\s+(\d+) kB", text)
        return int(found[1]) * 1024 if found else 0
    return 0


def _children() -> list[int]:
    with suppress(OSError):
        lists = Path("/proc/self/task").glob("*/children")
        return [int(number) for path in lists for number in path.read_text().split()]
    return []
