"""The three readers of foreign bytes, each as what makes cases: recipe, bundle, images."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.bundle.document import DOCUMENT, WEIGHTS
from erde_cli.core.calibration.tests_file import TESTS, Tested, read_tests
from erde_cli.core.calibration.thresholds_file import THRESHOLDS
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.images.decoding import decode_files
from erde_cli.core.images.named_paths import named_images
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.recipe.shipped import shipped_recipes
from erde_cli.core.storage.files import digest_of_file
from erde_cli.core.storage.json_files import digest_of
from tests.edited import sealed
from tests.fuzz.cases import FindingError, mutated, mutated_json

Run = Callable[[], object]

_YAML = (
    "*a", "&a [1]", "!!python/object/apply:os.system [x]", "<<: {a: 1}", "1e999", "0x1F", "1:30",
    "2001-13-99", "? [a]\n: b", "[" * 200, "{" * 50, "\t", "%YAML 9.9", "--- ", "!!binary eA==",
    "!!set {a}", ".inf", ".nan", "~", "'", '"\\x1b"', "\u202e", "9" * 5000,
    "data: {root: ../../..}", "name: ../../x", "name: $x$",
)  # fmt: skip
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "JPEG2000")
_MODES = ("RGB", "L", "P", "1", "RGBA", "I;16", "CMYK")
_NAMES = (
    "a.png", "[bold]x.png", "\x1b[31m.png", "new\nline.png", "\u202e.gif", "=cmd.jpg", "x.eps",
    ".hidden.png", "a" * 200 + ".png", "%s.bmp", "ü.tif", "no ending", "x.PNG.webp",
)  # fmt: skip


def recipes(folder: Path) -> Callable[[random.Random], Run]:
    """Recipe texts: bytes and values of the shipped ones changed."""
    texts = [recipe.text for recipe in shipped_recipes()]
    documents = [yaml.safe_load(text) for text in texts]
    path = folder / "fuzzed.yaml"

    def case(draw: random.Random) -> Run:
        kind = draw.randrange(3)
        if kind == 0:
            content = mutated(draw.choice(texts).encode(), draw)
        elif kind == 1:
            changed = mutated_json(draw.choice(documents), draw)
            content = yaml.safe_dump(changed, allow_unicode=True).encode(errors="replace")
        else:
            lines = draw.choice(texts).split("\n")
            for _ in range(draw.choice((1, 2, 5))):
                lines.insert(
                    draw.randrange(len(lines)), " " * draw.randrange(4) + draw.choice(_YAML)
                )
            content = "\n".join(lines).encode()
        path.write_bytes(content)
        return lambda: load_recipe(str(path))

    return case


def bundles(folder: Path, good: Path) -> Callable[[random.Random], Run]:
    """Bundles with bytes or values of a file changed, and digests made to fit again."""
    document = json.loads((good / DOCUMENT).read_text())
    thresholds = json.loads((good / THRESHOLDS).read_text())
    tests = _tests(document["weights_digest"])
    weights = (good / WEIGHTS).read_bytes()
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    place = folder / "bundle"

    def case(draw: random.Random) -> Run:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        told, chosen, held = document, thresholds, weights
        kind = draw.randrange(7)
        if kind == 0:
            told = mutated_json(document, draw)
        elif kind in (1, 2):
            chosen = mutated_json(thresholds, draw)
        elif kind == 3:
            held = mutated(weights, draw)
        elif kind == 4:
            held = _other_table(weights, draw)
        (place / WEIGHTS).write_bytes(held)
        if kind in (3, 4):
            digest = digest_of_file(place / WEIGHTS)
            told, chosen = {**told, "weights_digest": digest}, {**chosen, "weights_digest": digest}
        told, chosen = sealed(told), sealed(chosen)
        texts = [json.dumps(told).encode(), json.dumps(chosen).encode()]
        if kind == 5:
            number = draw.randrange(2)
            texts[number] = mutated(texts[number], draw)
        (place / DOCUMENT).write_bytes(texts[0])
        (place / THRESHOLDS).write_bytes(texts[1])
        if kind == 6:
            record = json.dumps(sealed(mutated_json(tests, draw))).encode()
            (place / TESTS).write_bytes(draw.choice((record, mutated(record, draw))))
        return lambda: _used(place, image)

    return case


def _used(place: Path, image: Image.Image) -> None:
    bundle = load_bundle(place)
    for found in bundle.predict(image):
        json.dumps(found.__dict__ if hasattr(found, "__dict__") else str(found), allow_nan=False)
    _ = bundle.recipe
    for one in read_tests(place):
        json.dumps(one.model_dump(), allow_nan=False)


def _tests(weights_digest: str) -> dict[str, Any]:
    """A record of tests."""
    one = Tested(
        split_fingerprint="0" * 64, weights_digest=weights_digest, precision="float32",
        device="cpu", temperatures=[1.0, 2.0], criterion="entropy", risk="disagreement",
        epsilon=0.05, confidence=0.9,
    )  # fmt: skip
    tests = [one.model_dump(), {**one.model_dump(), "epsilon": 0.1}]
    content = {"format": 1, "tests": tests, "images": {}}
    return {**content, "seal": digest_of(content)}


def _other_table(weights: bytes, draw: random.Random) -> bytes:
    """Weights whose table of contents, or whose numbers, were changed."""
    (length,) = struct.unpack("<Q", weights[:8])
    table, numbers = json.loads(weights[8 : 8 + length]), weights[8 + length :]
    if draw.random() < 0.3:
        some = np.frombuffer(numbers, np.float32).copy() if len(numbers) % 4 == 0 else None
        if some is not None:
            odd = np.float32(draw.choice((np.nan, np.inf, -np.inf, 3e38, -3e38, 0, -5)))
            some[draw.randrange(len(some)) :][: draw.choice((1, 100, 10**6))] = odd
            return weights[: 8 + length] + some.tobytes()
    text = json.dumps(mutated_json(table, draw)).encode()
    told = draw.choice((len(text), len(text), len(text), 2**60, 2**33, 0, len(text) + 1))
    return struct.pack("<Q", told) + text + numbers


def images(folder: Path) -> Callable[[random.Random], Run]:
    """Image folders: files changed, odd names, odd structure."""
    seeds = _seed_images()
    root = folder / "images"

    def case(draw: random.Random) -> Run:
        remove_chain(root / "train" / "dark" / "d")
        shutil.rmtree(root, ignore_errors=True)
        for name in ("dark", "light"):
            (root / "train" / name).mkdir(parents=True)
            for number in range(3):
                (root / "train" / name / f"{number}.png").write_bytes(seeds[number])
        changed: list[Path] = []
        for _ in range(draw.choice((1, 3, 6))):
            content = mutated(draw.choice(seeds), draw)
            name = draw.choice(_NAMES)
            path = root / "train" / draw.choice(("dark", "light", "dark/deeper/still")) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            changed.append(path)
        _odd_structure(root, draw)
        skip = draw.choice(("skip", "refuse"))
        return lambda: _opened(root, skip, changed)

    return case


def chain(folder: Path, length: int) -> str:
    """Folders called d, each inside the one before; the path of the last."""
    deep = str(folder)
    for _ in range(length):
        deep += "/d"
        os.mkdir(deep)  # noqa: PTH102 (Path's is recursive)
    return deep


def remove_chain(first: Path) -> None:
    """Remove such folders; shutil.rmtree would go down by recursion, and fail."""
    aside = first.with_name("aside")
    while (first / "d").is_dir():
        (first / "d").rename(aside)
        shutil.rmtree(first)
        aside.rename(first)
    shutil.rmtree(first, ignore_errors=True)


def _odd_structure(root: Path, draw: random.Random) -> None:
    kind = draw.randrange(12)
    train = root / "train"
    if kind == 0:
        (train / draw.choice(("\x1b[2J", "[bold]", "a\nb", "$x$", "\u202e", "=1+1"))).mkdir()
    elif kind == 1:
        (train / "dark" / "link.png").symlink_to(
            draw.choice(("/etc/passwd", "link.png", "/", ".."))
        )
    elif kind == 2:
        os.mkfifo(train / "light" / "pipe.png")
    elif kind == 3:
        (train / "light" / "folder.png").mkdir()
    elif kind == 4:
        chain(train / "dark", draw.choice((20, 1200)))
    elif kind == 5:
        (root / "test").write_text("a file")
    elif kind == 6:
        shutil.rmtree(train / draw.choice(("dark", "light")))


def _opened(root: Path, skip: str, changed: list[Path]) -> None:
    paths = [str(path) for path in changed if path.is_file()]
    found = decode_files(paths, 8)
    if len(found.pixels) != 192 * len(paths):
        raise FindingError("pixels are missing")
    if list(named_images([str(root)])) == []:
        raise FindingError("nothing was named")
    settings = {"dataset": "imagefolder", "root": str(root), "image_size": 8, "unreadable": skip}
    dataset = open_dataset(Data.model_validate(settings))
    for split in ("train", "calibration", "test"):
        dataset.load(split)


def _seed_images() -> list[bytes]:
    numbers = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    found = []
    for kind in _FORMATS:
        for mode in _MODES:
            stream = io.BytesIO()
            image = Image.fromarray(numbers)
            image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
            try:
                image.save(stream, kind, **_more(kind, image))
            except (OSError, ValueError, KeyError, SystemError):
                continue
            found.append(stream.getvalue())
    return found


def _more(kind: str, image: Image.Image) -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    more: dict[str, Any] = (
        {"exif": exif.tobytes()} if kind in ("PNG", "JPEG", "TIFF", "WEBP") else {}
    )
    if kind in ("GIF", "WEBP", "PNG", "TIFF"):
        more |= {"save_all": True, "append_images": [image.rotate(90), image]}
    return more


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes away at the end."""
    return tempfile.TemporaryDirectory(prefix="erde-fuzz-", ignore_cleanup_errors=True)
