"""`kill -9` at random moments of a run, which goes on after each."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .runs import Line, differences, strays


@dataclass
class Killed:
    """What killing came to; `moments` are seconds after each start."""

    moments: list[float] = field(default_factory=list)
    resumed: int = 0  # starts that took up a state inside a training
    runs: int = 0
    differences: list[str] = field(default_factory=list)


def kill_at_random(
    line: Line, straight: Path, seconds: float, folder: Path, kills: int, seed: int
) -> Killed:
    """Kill runs of a command line, each of which is done again until it ends.

    Args:
        line: the command; it says what it does.
        straight: an undisturbed run of it.
        seconds: that one took; the moments are uniform up to there.
        folder: where runs are made, one after the other.
        kills: how many are wanted.
        seed: of the moments.
    """
    moments = random.Random(seed)
    done = Killed()
    while len(done.moments) < kills:
        run = folder / f"killed-{done.runs}"
        while _killed(line, run, moments.uniform(0, seconds), done) and len(done.moments) < kills:
            pass
        line.finish(run)
        done.runs += 1
        told = differences(run, straight)
        told += [f"{path} is left" for path in strays(run, line.cache)]
        done.differences += [f"{run.name}: {one}" for one in told]
        if not told:
            shutil.rmtree(run)
    return done


def _killed(line: Line, run: Path, moment: float, done: Killed) -> bool:
    """Start, and kill after a while; False where it had ended before."""
    loud = (part for part in line.command(run) if part != "--quiet")
    with subprocess.Popen(
        list(loud), env=line.environment(), text=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
        _, said = process.communicate()
    done.resumed += "continuing in epoch" in said
    if process.returncode == -signal.SIGKILL:
        done.moments.append(moment)
        return True
    if process.returncode != 0:
        raise AssertionError(f"exit code {process.returncode}\n{said}")
    return False
