"""Writes that fail with ENOSPC or EIO at random, in the real process, whoever makes them."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .runs import Line, differences, strays

SOURCE = Path(__file__).with_name("failing.c")
ONE_IN = 150  # calls that write below the folder of runs; a run makes some hundred


@dataclass
class Failed:
    """What failing writes came to; `calls` counts what failed."""

    failures: int = 0  # runs that ended in an error
    calls: Counter[str] = field(default_factory=Counter)
    survived: int = 0  # runs that ended well though a write had failed: of a cache, for instance
    runs: int = 0
    problems: list[str] = field(default_factory=list)


def build(folder: Path) -> Path:
    """Compile what makes writes fail."""
    library = folder / "failing.so"
    compiler = os.environ.get("CC", "cc")
    options = ["-shared", "-fPIC", "-O1", "-pthread"]
    subprocess.run([compiler, *options, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def fail_at_random(
    line: Line, straight: Path, library: Path, folder: Path, failures: int, seed: int
) -> Failed:
    """Let writes of runs fail; each run is done again until it ends, the last time undisturbed.

    Each error must be one message and exit code 1, and leave no file that nobody is writing.
    """
    draws = random.Random(seed)
    done = Failed()
    log = folder / "failed.log"
    while done.failures < failures:
        run = folder / f"failed-{done.runs}"
        for _ in range(8):
            if not _fails(line, run, library, log, draws, done) or done.failures >= failures:
                break
        line.finish(run)
        done.runs += 1
        told = [*differences(run, straight), *(f"{one} is left" for one in strays(run, line.cache))]
        done.problems += [f"{run.name}: {one}" for one in told]
        if not told:
            shutil.rmtree(run)
    return done


def _fails(
    line: Line, run: Path, library: Path, log: Path, draws: random.Random, done: Failed
) -> bool:
    """Run with failing writes; whether it ended in an error."""
    log.unlink(missing_ok=True)
    number = draws.choice([errno.ENOSPC, errno.EIO])
    with line.start(
        run, LD_PRELOAD=str(library), FAULT_FOLDER=str(run.parent), FAULT_ERRNO=str(number),
        FAULT_ONE_IN=str(ONE_IN), FAULT_SEED=str(draws.randrange(65_536)), FAULT_LOG=str(log),
    ) as process:  # fmt: skip
        _, said = process.communicate()
    failed = log.read_text().splitlines() if log.exists() else []
    failed = [one for one in failed if str(log) not in one]
    done.calls.update(one.split()[0] for one in failed)
    if process.returncode == 0:
        done.survived += bool(failed)
        return False
    done.failures += 1
    why = os.strerror(number)
    if process.returncode not in (1, 2) or "Traceback" in said or said.count("Error: ") != 1:
        done.problems.append(f"{run.name}: exit code {process.returncode}\n{said}")
    elif why not in said:
        done.problems.append(f"{run.name}: {why} is not told\n{said}")
    done.problems += [f"{run.name}: {one} is left after an error" for one in strays(run)]
    return True
