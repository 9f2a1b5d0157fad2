"""Run the listings of docs/preprocessing.md next to `erde predict`, on 200 odd photos.

python -m benchmarks.listings BUNDLE [--data FOLDER]

BUNDLE is exported to a temporary folder; --data names images for its verification. Listings whose
runtime is missing are left out with a reason: OpenCV (pip install opencv-python-headless), a
browser (pip install playwright; Chromium at /usr/bin/chromium or --chromium PATH), C++ (g++,
libjpeg and libpng with headers).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np

from benchmarks.odd_photos import write_photos
from erde_cli.core.export.onnx_runtime import OnnxNetwork, open_exported
from erde_cli.core.images.decoding import decode_files
from erde_cli.core.workflows.export import ExportRequest, export_bundle
from erde_cli.core.workflows.options import Options

EXAMPLES = Path(__file__).parents[1] / "docs/examples"

Described = dict[str, Any]  # erde.input
Pixels = np.ndarray[Any, Any]  # uint8 [size, size, 3]
PixelsOf = Callable[[Path], Pixels]


class MissingError(Exception):
    """What a listing needs is not installed."""


class Difference(NamedTuple):
    """One listing against predict: photos refused, with other pixels, with other labels."""

    refused: int
    other_pixels: int
    largest: int
    other_labels: int


@contextlib.contextmanager
def pillow(described: Described) -> Iterator[PixelsOf]:
    """Listing for Pillow."""
    yield lambda path: _module("preprocess").tensor_of(path, described)[0]


@contextlib.contextmanager
def opencv(described: Described) -> Iterator[PixelsOf]:
    """Listing for OpenCV."""
    if importlib.util.find_spec("cv2") is None:
        raise MissingError("opencv-python-headless is not installed")
    yield lambda path: _module("preprocess_opencv").pixels_of(str(path), described)


@contextlib.contextmanager
def opencv_resize(described: Described, interpolation: str) -> Iterator[PixelsOf]:
    """OpenCV's own resize, behind the listing's decoding: what the listing avoids."""
    if importlib.util.find_spec("cv2") is None:
        raise MissingError("opencv-python-headless is not installed")
    import cv2

    listing = _module("preprocess_opencv")

    def resized(image: Pixels, height: int, width: int, _: str) -> Pixels:
        flag = getattr(cv2, f"INTER_{interpolation}")
        return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=flag)

    own, listing.resized = listing.resized, resized
    try:
        yield lambda path: listing.pixels_of(str(path), described)
    finally:
        listing.resized = own


@contextlib.contextmanager
def browser(described: Described, chromium: str, script: str) -> Iterator[PixelsOf]:
    """A script in Chromium; it sets `pixelsOf(blob, described)`."""
    if importlib.util.find_spec("playwright") is None:
        raise MissingError("playwright is not installed")
    if shutil.which(chromium) is None:
        raise MissingError(f"there is no {chromium}")
    from playwright.sync_api import sync_playwright

    handler = partial(_Quiet, directory=str(EXAMPLES))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = opened.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")  # modules need an address
        page.evaluate(script)

        def pixels_of(path: Path) -> Pixels:
            code = (
                "async ([bytes, described]) => Array.from(await window.pixelsOf("
                "new Blob([new Uint8Array(bytes)]), described))"
            )
            values = page.evaluate(code, [list(path.read_bytes()), described])
            return np.array(values, np.uint8).reshape(described["size"], described["size"], 3)

        yield pixels_of
        opened.close()
    server.shutdown()


LISTING = "import('/preprocess.mjs').then((module) => { window.pixelsOf = module.pixelsOf; })"
DRAW_IMAGE = """window.pixelsOf = async (blob, { size, short_side: short }) => {
  const bitmap = await createImageBitmap(blob), canvas = new OffscreenCanvas(size, size);
  const context = canvas.getContext('2d');
  context.fillStyle = 'white';
  context.fillRect(0, 0, size, size);
  context.imageSmoothingQuality = 'high';
  const shortest = Math.min(bitmap.width, bitmap.height);
  const side = (length) => (short ? Math.floor((short * length) / shortest) : size);
  const [width, height] = [side(bitmap.width), side(bitmap.height)];
  context.drawImage(bitmap, (size - width) / 2, (size - height) / 2, width, height);
  const { data } = context.getImageData(0, 0, size, size);
  return data.filter((_, at) => at % 4 < 3);
}; null"""

MAIN = """#include "preprocess.hpp"
#include <iostream>
int main(int count, char** given) {
  erde::Input input;
  input.size = std::stoi(given[1]);
  input.short_side = std::stoi(given[2]);
  input.bicubic = std::string(given[3]) == "bicubic";
  input.gray_bits = std::stoi(given[4]);
  input.background = std::stoi(given[5]);
  try {
    auto pixels = erde::pixels_of(given[6], input);
    std::cout.write(reinterpret_cast<char*>(pixels.data()), pixels.size());
  } catch (const std::exception& error) {
    std::cerr << error.what();
    return 1;
  }
  return count == 7 ? 0 : 1;
}
"""


@contextlib.contextmanager
def cpp(described: Described, folder: Path) -> Iterator[PixelsOf]:
    """Listing for C++, compiled here."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise MissingError("there is no g++")
    (folder / "main.cpp").write_text(MAIN)
    program = folder / "preprocess"
    line = [compiler, "-std=c++17", "-O2", f"-I{EXAMPLES}", folder / "main.cpp", "-o", program]
    if subprocess.run([*line, "-ljpeg", "-lpng"], capture_output=True, check=False).returncode:
        raise MissingError("preprocess.hpp does not compile here (libjpeg and libpng are needed)")
    background = {"white": 255, "black": 0, "ignore": -1}[described["transparent"]]
    settings = (
        described["size"], described["short_side"] or 0, described["interpolation"],
        described["gray_bits"], background,
    )  # fmt: skip

    def pixels_of(path: Path) -> Pixels:
        done = subprocess.run([program, *map(str, settings), path], capture_output=True, check=True)
        return np.frombuffer(done.stdout, np.uint8).reshape(described["size"], -1, 3)

    yield pixels_of


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _module(name: str) -> Any:
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    return __import__(name)


def compared(network: OnnxNetwork, paths: list[Path], pixels_of: PixelsOf) -> Difference:
    """Compare a listing with predict's pixels, and the labels that both lead to."""
    size = network.record.image_size
    decoded = decode_files(list(map(str, paths)), size, network.record.rules)
    assert not decoded.unreadable, decoded.unreadable
    expected = np.frombuffer(decoded.pixels, np.uint8).reshape(-1, size, size, 3)
    labels = network.answer(expected).labels
    differences, refused, others = [], 0, 0
    kinds: dict[str, list[int]] = {}
    for path, pixels, label in zip(paths, expected, labels, strict=True):
        try:
            found = pixels_of(path)
        except Exception as error:  # noqa: BLE001 (anything: a decoder of others)
            refused += 1
            kinds.setdefault(f"{path.suffixes[0]} refused", []).append(0)
            if "--verbose" in sys.argv:
                print(path.name, str(error)[:200])
            continue
        largest = int(np.abs(found.astype(int) - pixels).max())
        differences.append(largest)
        is_other = network.answer(np.ascontiguousarray(found)[None]).labels[0] != label
        others += int(is_other)
        if largest:
            kinds.setdefault(path.suffixes[0], []).append(largest)
    for kind, values in sorted(kinds.items()):
        print(f"    {kind}: {len(values)} photos, up to {max(values)} levels")
    changed = sum(one > 0 for one in differences)
    return Difference(refused, changed, max(differences), others)


def compare(given: argparse.Namespace, folder: Path) -> None:
    """Print a row for every listing."""
    model, chromium = folder / "model.onnx", given.chromium
    export_bundle(given.bundle, ExportRequest("onnx", model, data=given.data), Options("cpu", 1))
    network = open_exported(model, threads=1)
    described = json.loads(network.record.to_metadata()["erde.input"])
    paths = write_photos(folder / "photos")
    sides = {
        "Pillow": pillow(described),
        "OpenCV": opencv(described),
        "C++ (libjpeg, libpng)": cpp(described, folder),
        "Chromium": browser(described, chromium, LISTING),
        "not a listing: cv2.resize, INTER_LINEAR": opencv_resize(described, "LINEAR"),
        "not a listing: cv2.resize, INTER_AREA": opencv_resize(described, "AREA"),
        "not a listing: drawImage": browser(described, chromium, DRAW_IMAGE),
    }
    for name, side in sides.items():
        if given.only not in name:
            continue
        try:
            with side as pixels_of:
                found = compared(network, paths, pixels_of)
        except MissingError as error:
            print(f"{name}: not run, {error}")
            continue
        print(
            f"{name}: of {len(paths)} photos {found.refused} are refused, {found.other_pixels} "
            f"have other pixels (up to {found.largest} levels), {found.other_labels} another label"
        )


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--only", default="", help="a part of the names of the rows")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(given, Path(folder))


if __name__ == "__main__":
    main()
