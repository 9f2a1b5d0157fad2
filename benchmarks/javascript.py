"""Compare an exported file in Node (onnxruntime-web, WebAssembly) with the same file in Python.

python -m benchmarks.javascript BUNDLE [--images 100]

Needs node and npm; the packages of docs/examples/package.json are installed into a temporary
folder. The answers must be the same. Times are medians for one image on one thread.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from erde_cli.core.export.onnx_runtime import open_exported
from erde_cli.core.runner.answers import float32_thresholds
from erde_cli.core.workflows.export import ExportRequest, export_bundle
from erde_cli.core.workflows.options import Options

EXAMPLES = Path(__file__).parents[1] / "docs/examples"


def in_node(
    examples: Path, model: Path, pixels: np.ndarray[Any, Any], thresholds: Sequence[float]
) -> dict[str, Any]:
    """Output of run.mjs for some images; without thresholds, under those of the file."""
    raw = model.with_suffix(".raw")
    raw.write_bytes(pixels.tobytes())
    numbers = [str(value).replace("inf", "Infinity") for value in thresholds]
    command = ["node", "run.mjs", str(model), str(raw), str(pixels.shape[1]), *numbers]
    done = subprocess.run(command, cwd=examples, capture_output=True, text=True, check=True)
    output: dict[str, Any] = json.loads(done.stdout)
    return output


def compare(bundle: Path, count: int, folder: Path) -> None:
    """Export, run both, and print one line for each set of thresholds."""
    examples = folder / "examples"
    shutil.copytree(EXAMPLES, examples, ignore=shutil.ignore_patterns("node_modules"))
    npm = shutil.which("npm") or "npm"
    subprocess.run([npm, "install", "--silent", "--ignore-scripts"], cwd=examples, check=True)
    model = folder / "model.onnx"
    export_bundle(bundle, ExportRequest("onnx", model), Options("cpu", 1))
    network = open_exported(model, threads=1)
    side, early = network.record.image_size, network.record.exit_count - 1
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    settings: list[list[float]] = [[]]
    settings += [[0.0] * exit_ + [np.inf] * (early - exit_) for exit_ in range(early + 1)]
    for thresholds in settings:
        output = in_node(examples, model, pixels, float32_thresholds(thresholds).tolist())
        seconds, answers = [], []
        for at in range(count):
            start = perf_counter()
            answers.append(network.answer(pixels[at : at + 1], thresholds or None))
            seconds.append(perf_counter() - start)
        assert output["exit"] == [int(one.exits[0]) for one in answers]
        assert output["label"] == [int(one.labels[0]) for one in answers]
        expected = np.concatenate([one.probabilities for one in answers])
        difference = np.abs(np.array(output["probabilities"]) - expected).max()
        print(
            f"thresholds {thresholds or 'calibrated'}: same exits and labels of {count} images, "
            f"probabilities within {difference:.1e}; node {median(output['milliseconds']):.3f} ms, "
            f"Python {1e3 * median(seconds):.3f} ms"
        )


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(given.bundle, given.images, Path(folder))


if __name__ == "__main__":
    main()
