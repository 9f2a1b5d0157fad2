"""Processes of one training, started by hand: forks of one process that has imported torch.

An import of torch takes seconds, and a case has two or three processes. Each fork has its own
environment, working folder and streams, and types its own line.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECONDS = 30  # in which every process has to end


@dataclass(frozen=True)
class Rank:
    """What one process is given: a line after `erde`, variables of its own, a working folder."""

    line: str
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = "."


@dataclass(frozen=True)
class Ended:
    """How a process has ended: its exit code (minus a signal), what it has written."""

    code: int
    out: str
    err: str


class Forks:
    """The process that starts the others, on request."""

    def __init__(self, cache: Path) -> None:
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ERDE_CACHE": str(cache),
            "TORCH_CPP_LOG_LEVEL": "FATAL",  # erde sets it before it imports torch
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bad_input.ranks"], cwd=ROOT, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, here: Path, ranks: list[Rank], connect: float = 180) -> list[Ended]:
        """Start the ranks, with a port of their own, and wait until all have ended.

        Args:
            here: working folder.
            ranks: in their order. Those variables that they name replace those of torchrun.
            connect: seconds until they give up waiting for each other.
        """
        variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        given = [
            {
                "arguments": shlex.split(one.line),
                "folder": str(here / one.folder),
                "environment": {
                    **variables, "RANK": str(number), "LOCAL_RANK": str(number),
                    "WORLD_SIZE": str(len(ranks)), **one.environment,
                },
            }
            for number, one in enumerate(ranks)
        ]  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"connect": connect, "ranks": given}) + "\n")
        self._process.stdin.flush()
        return [Ended(**one) for one in json.loads(self._process.stdout.readline())]

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=SECONDS)


def free_port() -> int:
    """A port that no program uses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def foreign_port() -> Iterator[int]:
    """A port at which another program listens, and says nothing."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield int(one.getsockname()[1])


def _fork(given: dict[str, Any], connect: float, files: tuple[Path, Path]) -> int:
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        from erde_cli.__main__ import main
        from erde_cli.core.processes import connection

        connection.CONNECT = timedelta(seconds=connect)
        connection._SILENT = min(connect, connection._SILENT)
        os.chdir(given["folder"])
        os.environ.update(given["environment"])
        sys.path[:0] = filter(None, [given["environment"].get("PYTHONPATH")])
        for number, path in ((1, files[0]), (2, files[1])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["erde", *given["arguments"]]
        code = main()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _ended(children: list[int]) -> list[int]:
    """Exit codes of processes; those that have not ended in time are killed, with code -9."""
    codes: dict[int, int] = {}
    end = time.monotonic() + SECONDS
    while len(codes) < len(children):
        for child in children:
            if child not in codes:
                number, status = os.waitpid(child, os.WNOHANG)
                if number:
                    codes[child] = os.waitstatus_to_exitcode(status)
                elif time.monotonic() > end:
                    os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    return [codes[child] for child in children]


def _serve() -> None:
    import torch

    import erde_cli.commands.views.terminal
    import erde_cli.commands.views.trained
    import erde_cli.core.processes.torchrun
    import erde_cli.core.recipe.loading
    import erde_cli.core.workflows.run  # noqa: F401 (imported once, for all forks)

    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        here = Path(request["ranks"][0]["folder"]).parent
        files = [(here / f"{n}.out", here / f"{n}.err") for n in range(len(request["ranks"]))]
        pairs = zip(request["ranks"], files, strict=True)
        codes = _ended([_fork(given, request["connect"], two) for given, two in pairs])
        ended = [
            {"code": code, "out": out.read_text(), "err": err.read_text()}
            for code, (out, err) in zip(codes, files, strict=True)
        ]
        for two in files:
            for path in two:
                path.unlink()
        sys.stdout.write(json.dumps(ended) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
