"""A run that nothing disturbs, and how another one differs from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMES = {"run.json", "report.json"}  # hold seconds beside what is compared
OWN = {"timings.jsonl"}
# Shows the speed of the training; a run whose report cannot be written succeeds.
EXTRA = "report.html"


@dataclass(frozen=True)
class Line:
    """A command line that makes a run folder, and where its cache lies."""

    arguments: tuple[str, ...]
    cache: Path

    def command(self, out: Path, *more: str) -> list[str]:
        """As it is typed."""
        erde = [sys.executable, "-m", "erde_cli"]
        return [*erde, *self.arguments, "--out", str(out), "--threads", "1", "--quiet", *more]

    def environment(self, **more: str) -> dict[str, str]:
        """Checkpoints so often that a run moves on however often it is killed."""
        often = {"ERDE_CHECKPOINT_SECONDS": "0.3", "ERDE_CACHE": str(self.cache)}
        return {**os.environ, **often, **more}

    def start(self, out: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
        """Start it; its errors can be read."""
        return subprocess.Popen(
            self.command(out, *more), env=self.environment(**environment), text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self, out: Path, *more: str) -> str:
        """Run it to its end; what it said on stderr."""
        with self.start(out, *more) as process:
            _, said = process.communicate()
        if process.returncode != 0:
            raise AssertionError(f"exit code {process.returncode}\n{said}")
        return said

    def timed(self, out: Path) -> float:
        """Seconds of an undisturbed run."""
        start = time.perf_counter()
        self.finish(out)
        return time.perf_counter() - start


def files_of(folder: Path) -> dict[str, Path]:
    """Every file below a folder."""
    paths = (path for path in folder.rglob("*") if not path.is_dir())
    return {str(path.relative_to(folder)): path for path in paths}


def differences(run: Path, straight: Path) -> list[str]:
    """Files that one run has and the other has not, or that differ in more than seconds."""
    found, wanted = files_of(run), files_of(straight)
    found.pop(EXTRA, None)
    wanted.pop(EXTRA, None)
    told = [f"{name} is not in an undisturbed run" for name in sorted(set(found) - set(wanted))]
    told += [f"{name} is missing" for name in sorted(set(wanted) - set(found))]
    for name in sorted(set(found) & set(wanted)):
        if Path(name).name not in OWN and _content(found[name]) != _content(wanted[name]):
            told.append(f"{name} differs")
    return told


def _content(path: Path) -> Any:
    if path.name not in TIMES:
        return path.read_bytes()
    document = json.loads(path.read_text())
    aside = {"seconds", "digest", "report"}  # the last two are digests of seconds as well
    return {name: value for name, value in document.items() if name not in aside}


def strays(*folders: Path) -> list[str]:
    """What nobody is writing any more, and nobody has removed."""
    return [str(path) for folder in folders for path in folder.rglob(".erde-*")]
