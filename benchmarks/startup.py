"""Measure the seconds of `erde --help`, `erde COMMAND --help` and a wrong option.

python -m benchmarks.startup [--repeats 7] [--json]

Each round starts with `python -c pass`; the time above it counts. The goal is at most 0.3 s.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Any

import typer

from benchmarks.measure import arguments, interleave, print_results, show, spread
from erde_cli.app import app

_NOTHING = "python -c pass"


def command_lines(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """`--help` and a wrong option of every command and group."""
    yield (*path, "--help")
    yield (*path, "--frobnicate")
    for name, inner in getattr(command, "commands", {}).items():
        yield from command_lines(inner, (*path, name))


def seconds(*given: str) -> float:
    """Wall-clock seconds of a Python process."""
    start = perf_counter()
    subprocess.run([sys.executable, *given], capture_output=True, check=False)
    return perf_counter() - start


def main() -> None:
    """Compare every command line with a Python process that does nothing."""
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
    print_results("Startup, s", ["command line", "wall clock", "above"], rows, given.json, document)


if __name__ == "__main__":
    main()
