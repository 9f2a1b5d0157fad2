"""Measure memory and start of `erde_cli.runtime`, in a new process for each row; Linux only.

python -m benchmarks.runner BUNDLE [--images 64] [--repeats 5] [--threads 1] [--json]

The bundle is exported in both forms. Each process opens an export and classifies files: small PNG
files in one batch, a single one, or a JPEG of 12 megapixels. Shown are the peak of resident memory,
and the CPU and wall-clock time from the start of the process to the last answer. Other load on the
machine lengthens the wall-clock time. The goals are 90 MB for 64 images of 32x32 pixels, 200 MB for
the JPEG, and 0.4 s of either time for a single image of 32x32. The exit code is 1 if a median
misses its goal.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measure import arguments, print_results, progress, show, spread
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.export.formats import FormatName
from erde_cli.core.workflows.export import ExportRequest, export_loaded
from erde_cli.core.workflows.options import Options

FORMS: dict[FormatName, str] = {"onnx": "one file", "onnx-staged": "stages"}
WIDE, HIGH, TILE = 4000, 3000, 400  # sides of the JPEG, and of what it repeats
PROCESS = """
import json, re, sys, time
from erde_cli.runtime import open_model
start, path, threads, *images = sys.argv[1:]
rows = open_model(path, threads=int(threads)).predict(images, batch=len(images))
seconds = {"cpu_s": time.process_time(), "wall_s": time.monotonic() - float(start)}
assert len(rows) == len(images)
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
print(json.dumps({"peak_mb": peak / 1e6, **seconds}))
"""
COLUMNS = {"peak_mb": "peak, MB", "cpu_s": "CPU, s", "wall_s": "wall clock, s"}
# The most that the median of a figure may be, by images.
GOALS = {
    "64 of 32x32": {"peak_mb": 90.0},
    "1 of 32x32": {"cpu_s": 0.4, "wall_s": 0.4},
    "12-megapixel JPEG": {"peak_mb": 200.0},
}


def write_images(folder: Path, count: int, side: int) -> dict[str, list[Path]]:
    """Random files: `count` PNG files, one of them, and a JPEG of 12 megapixels."""
    pixels = np.random.default_rng(1).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    files = [folder / f"{number}.png" for number in range(count)]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file)
    tile = np.random.default_rng(2).integers(0, 256, (TILE, TILE, 3), dtype=np.uint8)
    photo = np.tile(tile, (HIGH // TILE + 1, WIDE // TILE, 1))[:HIGH]
    Image.fromarray(photo).save(folder / "photo.jpg", quality=90)
    return {
        f"{count} of {side}x{side}": files,
        f"1 of {side}x{side}": files[:1],
        "12-megapixel JPEG": [folder / "photo.jpg"],
    }


def measured(model: Path, threads: int, images: Sequence[Path]) -> dict[str, float]:
    """MB and seconds of one process."""
    files = map(str, images)
    command = [sys.executable, "-c", PROCESS, str(monotonic()), str(model), str(threads), *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def missed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each median above its goal."""
    return [
        f"{row['export']}, {row['images']}: {COLUMNS[figure]} {row[figure]['median']:.2f}, "
        f"goal {goal:g}"
        for row in rows
        for figure, goal in GOALS.get(row["images"], {}).items()
        if row[figure]["median"] > goal
    ]


def main() -> None:
    """Export, measure each form and each set of images in turn, and print."""
    given = arguments(
        __doc__ or "",
        ["bundle"],
        images={"type": int, "default": 64, "help": "images in the batch (default: %(default)s)"},
    )
    bundle, threads = load_bundle(given.bundle), given.threads or 1
    runs: dict[tuple[str, str], list[dict[str, float]]] = {}
    with TemporaryDirectory() as folder:
        place = Path(folder)
        images = write_images(place, given.images, bundle.image_size)
        for form in FORMS:
            export_loaded(bundle, ExportRequest(form, place / form), Options("cpu", threads))
        for round_ in range(given.repeats):
            for form, name in FORMS.items():
                for kind, files in images.items():
                    progress(f"{name}, {kind}: round {round_ + 1} of {given.repeats}")
                    found = runs.setdefault((name, kind), [])
                    found.append(measured(place / form, threads, files))
    progress("")
    rows: list[dict[str, Any]] = [
        {"export": name, "images": kind}
        | {figure: spread([one[figure] for one in found]) for figure in COLUMNS}
        for (name, kind), found in runs.items()
    ]
    wrong = missed(rows)
    versions = {name: version(name) for name in ("numpy", "pillow", "onnxruntime")}
    print_results(
        f"A process of erde_cli.runtime, {threads} thread(s), {versions}",
        ["export", "images", *COLUMNS.values()],
        [
            [row["export"], row["images"], *(show(row[figure]) for figure in COLUMNS)]
            for row in rows
        ],
        given.json,
        {"versions": versions, "runs": rows, "missed": wrong},
    )
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
