"""Interleaved measurements with median and spread, and their output."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_all_start_methods, get_context, set_start_method
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from erde_cli.core.device import has_bfloat16

Measure = Callable[[], float]


def arguments(
    description: str, paths: Sequence[str] = (), **more: Mapping[str, Any]
) -> argparse.Namespace:
    """Parse the positional `paths`, the options of all benchmarks, and `more` options."""
    parser = argparse.ArgumentParser(description=description)
    for name in paths:
        parser.add_argument(name, type=Path, metavar=name.upper())
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="threads of the CPU (default: all cores)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    for name, options in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **options)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    return given


def interleave(sides: Mapping[str, Measure], repeats: int) -> dict[str, list[float]]:
    """Measure all sides in turn, `repeats` times, after a warm-up round.

    Other load on the machine then affects all sides alike.
    """
    values: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(repeats + 1):
        for name, measure in sides.items():
            progress(f"{name}: round {round_} of {repeats}")
            value = measure()
            if round_:
                values[name].append(value)
    progress("")
    return values


def progress(text: str) -> None:
    """Show progress on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:70}", end="\r", file=sys.stderr, flush=True)


@contextmanager
def apart(sides: Mapping[str, Callable[[], Measure]]) -> Iterator[dict[str, Measure]]:
    """Run each side in its own process, so that process-wide settings of one do not affect others.

    `sides` are picklable functions that make the measures in their processes. A process is idle
    until its turn.
    """
    spawn = get_context("spawn")
    pipes: list[Connection] = []
    processes = []
    try:
        measures: dict[str, Measure] = {}
        for name, make in sides.items():
            here, there = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(make, there, torch.get_num_threads()))
            process.start()
            there.close()
            pipes.append(here)
            processes.append(process)
            measures[name] = partial(_ask, here)
        yield measures
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join()


def _serve(make: Callable[[], Measure], pipe: Connection, threads: int) -> None:
    torch.set_num_threads(threads)
    if "fork" in get_all_start_methods():
        set_start_method("fork", force=True)  # for DataLoader's workers: the default on Linux
    measure = make()
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        pipe.send(measure())


def _ask(pipe: Connection) -> float:
    pipe.send(None)
    return float(pipe.recv())


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratios(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """Ratios of two sides in each round: median, smallest and largest."""
    return spread([a / b for a, b in zip(over, under, strict=True)])


def show(value: Mapping[str, float], digits: int = 2) -> str:
    """`median (smallest to largest)`."""
    return "{median:,.{d}f} ({low:,.{d}f} to {high:,.{d}f})".format(**value, d=digits)


def machine() -> dict[str, Any]:
    """Description of this machine."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if "model name" in line), model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "arithmetic": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": has_bfloat16(torch.device("cpu")),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def print_results(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], as_json: bool,
                  document: Mapping[str, Any]) -> None:  # fmt: skip
    """Print one JSON object, or a title and a Markdown table."""
    about = machine()
    if as_json:
        print(json.dumps({"machine": about, **document}))
        return
    print(f"{title}\n{about}\n")
    print_table(columns, rows)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    for line in [columns, ["---"] * len(columns), *rows]:
        print("| " + " | ".join(line) + " |")
