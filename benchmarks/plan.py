"""Compare planned and real time of whole runs, on an idle machine.

python -m benchmarks.plan [--folders CIFAR PHOTOS] [--repeats 3] [--minutes 3] [--json]

The runs are `erde run` of the digits, of the recipe cifar10-cpu on the folder CIFAR for 2 epochs,
and of the folder PHOTOS with the recipe that `erde init --minutes` chooses. Each run is a new
process, planned by `erde plan` right before, when its decoded images are already in the cache. The
goal is a ratio of 0.8 to 1.25 in each run, and at most 1.25 times the minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks.measure import arguments, print_results, show, spread

_SHORT = [
    part for role in ("teacher", "student") for part in ("--set", f"training.{role}.epochs=2")
]


def erde(*given: object) -> dict[str, Any]:
    """Output of a command with `--json`."""
    line = [sys.executable, "-m", "erde_cli", *map(str, given), "--json"]
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    output: dict[str, Any] = json.loads(done.stdout)
    return output


def planned_and_real(recipe: object, more: Sequence[str], folder: Path) -> tuple[float, float]:
    """Planned and real seconds of a run."""
    planned = float(erde("plan", recipe, "--out", folder, *more)["seconds"])
    start = perf_counter()
    erde("run", recipe, "--out", folder, *more)
    return planned, perf_counter() - start


def main() -> None:
    """Plan and run each of them."""
    given = arguments(
        __doc__ or "", folders={"nargs": 2, "type": Path, "metavar": ("CIFAR", "PHOTOS")},
        minutes={"type": float, "default": 3.0},
    )  # fmt: skip
    rows, document = [], {}
    with TemporaryDirectory() as made:
        here = Path(made)
        jobs: dict[str, tuple[object, list[str]]] = {"digits": ("digits", [])}
        if given.folders:
            cifar, photos = (folder.resolve() for folder in given.folders)
            jobs["cifar10-cpu"] = ("cifar10-cpu", [f"--set=data.root={cifar}", *_SHORT])
            erde("init", photos, "--minutes", given.minutes, "--out", here / "photos.yaml")
            jobs["photos"] = (here / "photos.yaml", [])
        for name, (recipe, more) in jobs.items():
            times = [
                planned_and_real(recipe, more, here / f"{name}-{round_}")
                for round_ in range(given.repeats)
            ]
            over = [planned / real for planned, real in times]
            real = spread([real for _, real in times])
            minutes = f"{real['high'] / 60 / given.minutes:.2f}" if name == "photos" else ""
            rows.append([name, show(real, 1), show(spread(over)), minutes])
            document[name] = {"seconds": real, "planned_over_real": over}
    columns = ["run", "seconds", "planned / real", "real / minutes, at most"]
    print_results("Plans", columns, rows, given.json, document)


if __name__ == "__main__":
    main()
