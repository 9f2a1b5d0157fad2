"""Run every form of export in other runtimes, each in a venv of its own, and compare answers.

python -m benchmarks.runtimes [BUNDLE] [--data FOLDER] [--images 500] [--only NAME ...]
    [--forms NAME ...]

The images are those of the bundle's test split, or of a folder: all, or so many at even distances.
The answers of float forms are compared with the bundle in torch, those of int8 forms with erde's
own runner. The exit code is 1 if a form fails, if an answer of a float form differs, or if more
than 2 % of those of an int8 form do, which other runtimes round differently. Without BUNDLE a small
network is trained first. Venvs are kept in the cache folder (ERDE_CACHE, or ~/.cache/erde). One
that is older than a day is upgraded first, so that the newest releases are tested.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import onnx

from erde_cli.app import main as erde
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.data.given_images import pixels_of
from erde_cli.core.export.formats import FormatName
from erde_cli.core.export.onnx_runtime import open_exported
from erde_cli.core.images.named_paths import named_images
from erde_cli.core.storage.cache import cache_folder, temporary_folder
from erde_cli.core.workflows.export import ExportRequest, export_bundle
from erde_cli.core.workflows.images import dataset_of, load_split
from erde_cli.core.workflows.options import Options

_INT8_MAY_DIFFER = 0.02  # share of images; a bias that a runtime drops changed 17 %
_UPGRADED_AFTER = 24 * 60 * 60  # seconds
# Ends in a mean over the image and in a mix of exits, in a few seconds.
_SMALL = {
    "teacher.depth": 8, "teacher.width": 8, "teacher.exits": "[1, 2]", "teacher.head": "gap",
    "training.teacher.epochs": 4, "data.image_size": 8, "data.augmentation.crop": 1,
}  # fmt: skip

CLIENTS = Path(__file__).with_name("runtime_clients.py")


@dataclass(frozen=True)
class Runtime:
    """A row of the table: the packages of its venv, the client, and what is shown of it.

    without_dependencies: the packages need none of theirs to run the files.
    """

    name: str
    client: str
    packages: tuple[str, ...]
    shown: tuple[str, ...]
    portable: bool = False
    without_dependencies: bool = False


RUNTIMES = {
    row.name: row
    for row in (
        Runtime("onnxruntime-oldest", "onnxruntime", ("onnxruntime==1.20.0", "numpy<3"),
                ("onnxruntime",)),
        Runtime("onnxruntime-newest", "onnxruntime", ("onnxruntime", "numpy"), ("onnxruntime",)),
        Runtime("openvino-oldest", "openvino", ("openvino==2025.0.0",), ("openvino",)),
        Runtime("openvino-newest", "openvino", ("openvino",), ("openvino",)),
        Runtime("litert", "litert", ("onnx2tf", "ai-edge-litert"), ("ai-edge-litert", "onnx2tf"),
                portable=True),
        Runtime("ncnn", "ncnn", ("ncnn", "pnnx", "numpy"), ("ncnn", "pnnx"), portable=True,
                without_dependencies=True),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """A column of the table: what is exported."""

    name: str
    format: FormatName
    int8: bool = False
    static: bool = False
    portable: bool = False


FORMS = {
    form.name: form
    for form in (
        Form("single", "onnx"),
        Form("single, int8", "onnx", int8=True),
        Form("stages", "onnx-staged"),
        Form("stages, int8", "onnx-staged", int8=True),
        Form("static", "onnx", static=True),
        Form("stages, portable", "onnx-staged", portable=True),
        Form("static, portable", "onnx", static=True, portable=True),
    )
}


def images_of(bundle: Path, data: Path | None, count: int) -> np.ndarray[Any, Any]:
    """Pixels of the test split or of a folder, uint8 [images, height, width, 3], at most `count`.

    They are taken at even distances, since folders are in the order of their classes.
    """
    loaded, options = load_bundle(bundle), Options("cpu", 1)
    if data is None:
        store = load_split(dataset_of(loaded, options), "test", options)
        pixels: np.ndarray[Any, Any] = store.take(np.array(_spread(len(store), count))).numpy()
        return pixels
    paths = [one.path for one in named_images([str(data)]) if not one.reason]
    if not paths:
        raise SystemExit(f"{data} contains no image.")
    taken = [paths[at] for at in _spread(len(paths), count)]
    return np.concatenate([*pixels_of(taken, loaded.image_size, 256, loaded.document.rules)])


def _spread(among: int, count: int) -> list[int]:
    """Numbers of `count` things of `among`, at even distances; of all if there are fewer."""
    count = min(count, among)
    return [at * among // count for at in range(count)]


def exported(bundle: Path, form: Form, folder: Path) -> tuple[dict[str, Any], Path]:
    """Export a form; return its entry for the client, and its path."""
    place = folder / form.name.replace(", ", "-")
    place = place.with_suffix(".onnx") if form.format == "onnx" else place
    last = load_bundle(bundle).model.exit_count - 1
    exit_ = last if form.static else None
    request = ExportRequest(form.format, place, int8=form.int8, portable=form.portable, exit=exit_)
    record = export_bundle(bundle, request, Options("cpu", 1)).record
    files = [place] if place.is_file() else sorted(place.glob("*.onnx"))
    for file in files:
        (takes,) = [value for value in onnx.load(file).graph.input if value.name != "thresholds"]
        shape = [one.dim_value or 1 for one in takes.type.tensor_type.shape.dim]
        file.with_suffix(".json").write_text(json.dumps(shape))
    entry = {
        "name": form.name,
        "files": list(map(str, files)),
        "kind": "single" if form.format == "onnx" and not form.static else "chain",
        "portable": form.portable,
        "thresholds": record.thresholds,
        "temperatures": [one or 1.0 for one in record.temperature_of_exits],
    }
    return entry, place


def expected(bundle: Path, form: Form, place: Path, pixels: np.ndarray[Any, Any]) -> Any:
    """Labels and exits that a form must give."""
    if form.int8:
        answers = open_exported(place, 1).answer(pixels)
        return {"labels": answers.labels.tolist(), "exits": answers.exits.tolist()}
    never = ["never"] * (load_bundle(bundle).model.exit_count - 1)
    rows = load_bundle(bundle).predict(pixels, thresholds=never if form.static else None)
    # A static network is one file, whose only exit is the first of the chain.
    exits = [0 if form.static else row.exit for row in rows]
    return {"labels": [row.label for row in rows], "exits": exits}


def venv_of(runtime: Runtime) -> Path:
    """Python of the runtime's venv, which is made if it is not there, and upgraded once a day."""
    root = (cache_folder("runtimes") or temporary_folder()) / runtime.name
    python, done = root / "bin/python", root / "installed.json"
    complete = done.is_file() and json.loads(done.read_text()) == list(runtime.packages)
    if complete and time() - done.stat().st_mtime < _UPGRADED_AFTER:
        return python
    if not complete:
        subprocess.run([sys.executable, "-m", "venv", "--clear", root], check=True)
    line = [python, "-m", "pip", "install", "--upgrade", "--quiet", "--disable-pip-version-check"]
    line += ["--no-deps"] if runtime.without_dependencies else []
    # Without a network, an older venv still serves: the table names the versions in it.
    tried = subprocess.run([*line, *runtime.packages], check=not complete)
    if tried.returncode == 0:
        done.write_text(json.dumps(runtime.packages))
    return python


def versions_in(python: Path, packages: tuple[str, ...]) -> str:
    """Names and versions of packages in a venv."""
    code = "import sys; from importlib.metadata import version as v\n"
    code += "print(', '.join(f'{one} {v(one)}' for one in sys.argv[1:]))"
    return subprocess.check_output([python, "-c", code, *packages], text=True).strip()


def trained(folder: Path) -> Path:
    """A bundle of a small network, trained on the digits."""
    run, bundle = folder / "run", folder / "run/teacher"
    sets = [part for key, value in _SMALL.items() for part in ("--set", f"{key}={value}")]
    line = ["train-teacher", "digits", "--out", str(run), "--threads", "1", "--quiet", *sets]
    assert erde(line) == 0
    assert erde(["calibrate", str(bundle), "--max-macs", "0.7", "--quiet"]) == 0
    return bundle


def cell(found: dict[str, Any], right: dict[str, Any], int8: bool) -> tuple[str, bool]:
    """Answers that differ and whether the form stops early; and whether all is right."""
    if "error" in found:
        return f"fails: {found['error']}", False
    pairs = zip(found["labels"], found["exits"], right["labels"], right["exits"], strict=True)
    differ = sum((label, exit_) != (l_, e_) for label, exit_, l_, e_ in pairs)
    share = found["share"]
    stops = "" if share is None else f" ({share:.2f})"
    return f"{differ}{stops}", differ <= (_INT8_MAY_DIFFER * len(right["exits"]) if int8 else 0)


def main() -> None:
    """Export, run, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=500, metavar="N")
    parser.add_argument("--only", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    given = parser.parse_args()
    forms, wrong = [FORMS[name] for name in given.forms], 0
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        bundle = given.bundle or trained(folder)
        pixels = images_of(bundle, given.data, given.images)
        np.save(folder / "pixels.npy", pixels)
        entries, right = [], {}
        for form in forms:
            entry, place = exported(bundle, form, folder)
            entries.append(entry)
            right[form.name] = expected(bundle, form, place, pixels)
        print(
            f"Answers (label and exit) of {len(pixels)} images that differ. In brackets: median "
            "time of an image that leaves at the first exit, as a share of one that reaches the "
            "last.\n"
        )
        print(f"| runtime | {' | '.join(form.name for form in forms)} |")
        print(f"|---|{'---|' * len(forms)}")
        for runtime in (RUNTIMES[name] for name in given.only):
            ours = [one for one in entries if one["portable"] or not runtime.portable]
            (folder / "forms.json").write_text(json.dumps(ours))
            python = venv_of(runtime)
            line = [python, CLIENTS, runtime.client, folder]
            clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True, env=clean)
            found = json.loads(done.stdout.splitlines()[-1])
            cells = [
                cell(found[form.name], right[form.name], form.int8)
                if form.name in found
                else ("–", True)
                for form in forms
            ]
            wrong += sum(not good for _, good in cells)
            shown = versions_in(python, runtime.shown)
            print(f"| {shown} | {' | '.join(text for text, _ in cells)} |", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
