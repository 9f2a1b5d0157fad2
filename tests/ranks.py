"""Processes that meet as those of torchrun do. They are forked, so that none imports torch again.

The store that torchrun would keep is in this process: nothing listens but on loopback, at a port
that the system chooses. Nobody ends the others when one has ended.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, NoReturn

from torch.distributed import TCPStore

HOST = "127.0.0.1"
_POLL = 0.1  # seconds, as in torchrun
_IMPORTED_ONCE = [
    "erde_cli.app", "erde_cli.commands.run_input", "erde_cli.commands.views.terminal",
    "erde_cli.commands.views.trained", "erde_cli.core.workflows.run", "sklearn.datasets",
    "torch.distributed", "tests.core.processes.filling", "tests.commands.disturbed", __name__,
]  # fmt: skip
_STARTED_BY_TORCHRUN = "TORCHELASTIC_USE_AGENT_STORE"


@dataclass(frozen=True)
class Ended:
    """A process that has ended: its exit code (minus the signal that killed it), and what it said.

    result: what its task returned; None if it did not return.
    """

    code: int
    out: str
    err: str
    result: Any = None


class Ranks:
    """Processes that run one task; the file system is all that they share with this one.

    task: a function of a module, of `arguments`. It returns what JSON can hold. The processes are
    killed at the end of the context if they have not ended.
    """

    def __init__(
        self, folder: Path, world_size: int, task: Callable[..., Any], *arguments: Any,
        own_store: bool = False, **environment: str,
    ) -> None:  # fmt: skip
        """Start the processes; what they say is written to `folder`.

        `own_store`: rank 0 keeps the store, as without torchrun. `environment`: added to that of
        this process.
        """
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
        place = {"MASTER_ADDR": HOST, "MASTER_PORT": str(self._store.port)}
        if own_store:
            del self._store  # its port is free
        else:
            place[_STARTED_BY_TORCHRUN] = "True"
        self._processes: list[ForkServerProcess] = []
        for rank in range(world_size):
            numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size}
            variables = {**os.environ, **place, **{k: str(v) for k, v in numbers.items()}}
            process = _context().Process(
                target=_enter,
                args=({**variables, **environment}, str(folder / str(rank)), task, arguments),
            )
            process.start()
            self._processes.append(process)

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for process in self._processes:
            if process.is_alive():
                process.kill()
            process.join()

    def send(self, rank: int, number: int) -> None:
        """Send a process a signal."""
        process_id = self._processes[rank].pid
        assert process_id is not None
        os.kill(process_id, number)

    @property
    def alive(self) -> bool:
        """Whether all processes still run."""
        return all(process.is_alive() for process in self._processes)

    def ended(self, within: float = 120.0, *, by_torchrun: bool = False) -> list[Ended]:
        """How the processes ended, by rank; fails if one of them still runs after some seconds.

        `by_torchrun`: SIGTERM for the others as soon as one has ended, and not with the code 0.
        """
        last, told = monotonic() + within, not by_torchrun
        while running := [one for one in self._processes if one.is_alive()]:
            assert monotonic() < last, f"{running} run after {within} s: {self._said()}"
            if not told and any(one.exitcode for one in self._processes):
                told = True
                for one in running:
                    one.terminate()
            wait([one.sentinel for one in running], timeout=_POLL)
        return self._said()

    def _said(self) -> list[Ended]:
        found = []
        for rank, process in enumerate(self._processes):
            out, err, result = (
                path.read_text() if path.exists() else ""
                for path in (self._folder / f"{rank}.{name}" for name in ("out", "err", "json"))
            )
            code = -999 if process.exitcode is None else process.exitcode
            found.append(Ended(code, out, err, json.loads(result) if result else None))
        return found


def results(
    folder: Path, world_size: int, task: Callable[..., Any], *arguments: Any, **environment: str
) -> list[Any]:
    """What a task returns in each process, by rank; fails if one fails."""
    with Ranks(folder, world_size, task, *arguments, **environment) as ranks:
        ended = ranks.ended()
    assert [one.code for one in ended] == [0] * world_size, [one.err for one in ended]
    return [one.result for one in ended]


def erde(*arguments: object) -> NoReturn:
    """The task of a command of erde, from its first line to its exit code."""
    from erde_cli.__main__ import main

    sys.argv = ["erde", *map(str, arguments)]
    sys.exit(main())


def said(ended: list[Ended]) -> str:
    """The errors of all processes."""
    return "".join(one.err for one in ended)


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED_ONCE)
    return context


def _enter(
    environment: Mapping[str, str], files: str, task: Callable[..., Any], arguments: Any
) -> None:
    """Become a process of its own: environment, streams, exit code."""
    os.environ.clear()
    os.environ.update(environment)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{files}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import torch

    torch.set_num_threads(1)
    Path(f"{files}.json").unlink(missing_ok=True)
    code = 1
    try:
        result = task(*arguments)
        Path(f"{files}.json").write_text(json.dumps(result))
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 (the test sees it)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
