"""Compile the C++ listing of docs/export.md, and compare its answers with `erde_cli.runtime`.

python -m benchmarks.cpp BUNDLE [--ort FOLDER] [--images 500] [--compiler c++]

FOLDER has ONNX Runtime's C++ headers, of the version of the installed wheel or older, whose library
is used. Without headers or a compiler, the reason is printed, and nothing is compared.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime

from erde_cli.core.arrays import ImageArray
from erde_cli.core.runner.answers import float32_thresholds
from erde_cli.core.workflows.export import ExportRequest, export_bundle
from erde_cli.core.workflows.options import Options
from erde_cli.runtime import Model, open_model

PAGE = Path(__file__).parents[1] / "docs/export.md"
HEADER = "onnxruntime_cxx_api.h"
STANDARDS = (14, 17, 20)


def listing() -> str:
    """The program on the page."""
    blocks: list[str] = re.findall(r"```cpp\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return next(block for block in blocks if "int main" in block)


def library(folder: Path) -> Path:
    """The wheel's library in a folder, under the name that a program looks for."""
    found = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    link = folder / ".".join(found.name.split(".")[:3])
    link.symlink_to(found)
    return link


def compiled(folder: Path, compiler: str, headers: Path, standard: int) -> Path:
    """The program, compiled."""
    source, program = folder / "stop_early.cpp", folder / f"stop_early{standard}"
    source.write_text(listing())
    command = [compiler, f"-std=c++{standard}", "-Wall", "-Wextra", "-O1", str(source)]
    command += ["-isystem", str(headers), str(folder / "libonnxruntime.so.1")]
    subprocess.run([*command, f"-Wl,-rpath,{folder}", "-o", str(program)], check=True)
    return program


def images_for(model: Model, count: int) -> ImageArray:
    """Random images, uint8 [count, side, side, 3]."""
    shape = (count, model.image_size, model.image_size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def settings_for(model: Model, count: int) -> list[Sequence[float]]:
    """Thresholds to compare under: calibrated, never, and such that half leaves at the first."""
    early = model.exit_count - 1
    entropies = model.columns(images_for(model, count), "always").entropies
    return [(), [0.0] * early, [float(np.median(entropies)), *[np.inf] * early][:early]]


def differences(
    program: Path, model: Model, file: Path, count: int, thresholds: Sequence[float]
) -> int:
    """Number of random images with another label or exit than in the runner."""
    side, pixels = model.image_size, images_for(model, count)
    expected = model.answer(pixels, list(thresholds) or None)
    given = [str(value) for value in float32_thresholds(thresholds).tolist()]
    command = [str(program), str(file), str(side), *given]
    done = subprocess.run(command, input=pixels.tobytes(), capture_output=True, check=True)
    found = np.array([line.split() for line in done.stdout.decode().splitlines()], np.int64)
    same = (found[:, 0] == expected.labels) & (found[:, 1] == expected.exits)
    print(f"  thresholds {given or 'calibrated'}: {np.bincount(expected.exits)} leave at each exit")
    return int(np.count_nonzero(~same))


def compare(bundle: Path, headers: Path, compiler: str, count: int) -> int:
    """Compile under each standard and compare under several thresholds; return the differences."""
    total = 0
    with TemporaryDirectory() as place:
        folder = Path(place)
        library(folder)
        file = folder / "model.onnx"
        export_bundle(bundle, ExportRequest("onnx", file), Options("cpu", 1))
        model = open_model(file, threads=1)
        for standard in STANDARDS:
            program = compiled(folder, compiler, headers, standard)
            for thresholds in settings_for(model, count):
                found = differences(program, model, file, count, thresholds)
                print(f"C++{standard}: {found} of {count} images differ")
                total += found
    return total


def main() -> None:
    """Check what is needed, then compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--ort", type=Path, help="folder with ONNX Runtime's C++ headers")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--compiler", default="c++")
    given = parser.parse_args()
    places = [] if given.ort is None else sorted(given.ort.rglob(HEADER))
    if not places:
        where = "no --ort FOLDER" if given.ort is None else f"{given.ort} has no {HEADER}"
        print(f"Skipped: {where}. The headers are in the archive of a release.")
        return
    if shutil.which(given.compiler) is None:
        print(f"Skipped: there is no compiler {given.compiler}.")
        return
    if compare(given.bundle, places[0].parent, given.compiler, given.images):
        raise SystemExit("The program gives other answers than the runner.")


if __name__ == "__main__":
    main()
