"""Compare `train-teacher` in several processes with one process that has as many threads.

python -m benchmarks.processes [--processes 2] [--competitors 0 1] [--epochs 3] [--repeats 3]

Whole commands train the teacher of `cifar10-cpu` on random images of 32x32 pixels, in turn. The
speed is that of the training, without the start; the memory is the largest resident one of a
process. A competitor is a process that never pauses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.busy import with_competitors
from benchmarks.decoding import write_images
from benchmarks.measure import arguments, interleave, print_results, ratios, show, spread
from erde_cli.core.storage.cache import VARIABLE

IMAGES = 3840
MB = 1024  # in the unit of ru_maxrss


class Side(NamedTuple):
    """Number of processes, and threads of each."""

    processes: int
    threads: int

    def __str__(self) -> str:
        """As in the table."""
        return f"{self.processes} x {self.threads}"


def images_per_second(images: Path, side: Side, epochs: int, peaks: dict[Side, float]) -> float:
    """Train in a new run folder; note the largest memory of a process, in MB."""
    several = ["-m", "torch.distributed.run", "--nproc-per-node", str(side.processes)]
    start = [] if side.processes == 1 else [*several, "--master-port", "29517"]
    with TemporaryDirectory() as run:
        command = [
            sys.executable, *start, "-m", "erde_cli", "train-teacher", "cifar10-cpu",
            "--out", run, "--quiet", "--threads", str(side.threads),
            "--set", f"data.root={images}", "--set", f"training.teacher.epochs={epochs}",
        ]  # fmt: skip
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(started.pid, 0)  # of the process and of those it started
        if status:
            raise SystemExit(f"{' '.join(command)} failed.")
        text = (Path(run) / "logs/teacher/timings.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()][1:]  # the first epoch warms up
    peaks[side] = max(peaks.get(side, 0.0), usage.ru_maxrss / MB)
    return float(sum(row["images"] for row in rows) / sum(row["seconds"] for row in rows))


def main() -> None:
    """Measure every side with every number of competitors."""
    given = arguments(
        __doc__ or "",
        processes={"type": int, "default": 2},
        competitors={"nargs": "+", "type": int, "default": [0, 1]},
        epochs={"type": int, "default": 3},
    )
    sides = [Side(given.processes, 1), Side(1, given.processes)]
    peaks: dict[Side, float] = {}
    with TemporaryDirectory() as folder:
        os.environ[VARIABLE] = str(Path(folder) / "cache")
        images = Path(folder) / "images"
        write_images(images, IMAGES)
        work: dict[str, Callable[[], float]] = {}
        for count in dict.fromkeys([0, *given.competitors]):
            for side in sides:
                measure = partial(images_per_second, images, side, given.epochs, peaks)
                work[f"{side}/{count}"] = partial(with_competitors, count, measure)
        found = interleave(work, given.repeats)
    rows, document = [], []
    base = found[f"{sides[1]}/0"]
    for name, speeds in found.items():
        side, _, count = name.partition("/")
        share = ratios(speeds, base)
        rows.append([side, count, show(spread(speeds), 0), show(share)])
        document.append({"side": side, "competitors": int(count), "images_per_second": speeds,
                         "share": share})  # fmt: skip
    columns = ["processes x threads", "competitors", "images/s", f"share of {sides[1]}, idle"]
    print_results(
        f"cifar10-cpu's teacher, {IMAGES:,} images", columns, rows, given.json,
        {"rows": document, "peak_mb": {str(side): peak for side, peak in peaks.items()}},
    )  # fmt: skip
    if not given.json:
        print("\nlargest memory of a process, MB: "
              + ", ".join(f"{side}: {peak:,.0f}" for side, peak in peaks.items()))  # fmt: skip


if __name__ == "__main__":
    main()
