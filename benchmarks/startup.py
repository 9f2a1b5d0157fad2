"""Seconds until `erde --help`, `erde COMMAND --help` and a wrong option answer.

python -m benchmarks.startup [--repeats 7] [--json]

Each round takes `python -c pass` first: the time above it counts. The promise is at
most 0.3 s.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Any

import typer

from benchmarks.measure import arguments, interleave, show, spread, tell
from erde_cli.app import app

_NOTHING = "python -c pass"


def command_lines(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The help of every command and group of the live command line, and a wrong option of each."""
    yield (*path, "--help")
    yield (*path, "--frobnicate")
    for name, inner in getattr(command, "commands", {}).items():
        yield from command_lines(inner, (*path, name))


def seconds(*given: str) -> float:
    """Wall clock of one process of this Python."""
    start = perf_counter()
    subprocess.run([sys.executable, *given], capture_output=True, check=False)
    return perf_counter() - start


def main() -> None:
    """Measure every command line against a Python that does nothing."""
    given = arguments(__doc__ or "")
    lines = list(command_lines(typer.main.get_command(app)))
    sides: dict[str, Callable[[], float]] = {_NOTHING: partial(seconds, "-c", "pass")}
    for line in lines:
        sides[f"erde {' '.join(line)}"] = partial(seconds, "-m", "erde_cli", *line)
    found = interleave(sides, given.repeats)
    rows, document = [], {}
    for name, times in found.items():
        above = spread([one - other for one, other in zip(times, found[_NOTHING], strict=True)])
        rows.append([name, show(spread(times), 3), show(above, 3)])
        document[name] = {"seconds": spread(times), "above": above}
    tell("Startup, s", ["command line", "wall clock", "above"], rows, given.json, document)


if __name__ == "__main__":
    main()
