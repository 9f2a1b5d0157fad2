"""docs/preprocessing.md: its listings are the files, give predict's pixels, and its lines run."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL import __version__ as pillow_version

from benchmarks.odd_photos import write_photos
from erde_cli.core.bundle.document import PixelsDocument
from erde_cli.core.data.given_images import pixels_of
from erde_cli.core.export.input_record import InputRecord
from erde_cli.core.images.decoding import decode_files
from erde_cli.core.images.pixels import PixelRules

from ..conftest import Cli

ROOT = Path(__file__).parents[2]
PAGE, EXAMPLES = ROOT / "docs/preprocessing.md", ROOT / "docs/examples"
LISTINGS = ("preprocess.py", "preprocess_opencv.py", "preprocess.mjs")
SIZE = 24
RULES = [
    PixelRules(),
    PixelRules("black", crop_share=0.875),
    PixelRules("ignore", interpolation="bicubic"),
    PixelRules(crop_share=0.6, interpolation="bicubic"),
]


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "preprocess", raising=False)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two of each kind."""
    return write_photos(tmp_path_factory.mktemp("photos"), 40)


def described(rules: PixelRules, **changed: Any) -> dict[str, Any]:
    pixels = PixelsDocument.model_validate(rules.to_json())
    return {**InputRecord.of(SIZE, pixels, None).model_dump(), **changed}


def test_the_listings_are_the_files() -> None:
    page = PAGE.read_text()
    for name in LISTINGS:
        assert f"[{name}](examples/{name})" in page
        assert f"\n{(EXAMPLES / name).read_text()}```" in page, name


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: f"{rules.resize}-{rules.transparent}")
def test_the_listing_for_pillow_gives_the_pixels_of_predict(
    photos: list[Path], rules: PixelRules
) -> None:
    from preprocess import tensor_of

    decoded = decode_files(list(map(str, photos)), SIZE, rules)
    assert not decoded.unreadable
    expected = np.frombuffer(decoded.pixels, np.uint8).reshape(-1, SIZE, SIZE, 3)
    for path, pixels in zip(photos, expected, strict=True):
        np.testing.assert_array_equal(tensor_of(path, described(rules))[0], pixels, path.name)


def test_the_listing_scales_grey_refuses_frames_and_normalises(photos: list[Path]) -> None:
    from preprocess import tensor_of

    (deep, *_) = [path for path in photos if ".grey16." in path.name]
    rules = PixelRules(bit_depth=12)
    expected = np.frombuffer(decode_files([str(deep)], SIZE, rules).pixels, np.uint8)
    np.testing.assert_array_equal(tensor_of(deep, described(rules)).ravel(), expected)
    for end in (".frames.gif", ".frames.webp", ".pages.tif"):
        (path, *_) = [path for path in photos if path.name.endswith(end)]
        with pytest.raises(ValueError, match="several images"):
            tensor_of(path, described(PixelRules(frames="refuse")))
    numbers = {"scale": 1 / 255, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.1]}
    planes = tensor_of(deep, described(PixelRules(), dtype="float32", layout="NCHW", **numbers))
    pixels = tensor_of(deep, described(PixelRules()))[0].astype(float)
    by_hand = (pixels / 255 - numbers["mean"]) / numbers["std"]
    assert (planes.shape, planes.dtype) == ((1, 3, SIZE, SIZE), np.float32)
    np.testing.assert_allclose(planes[0], by_hand.transpose(2, 0, 1), atol=1e-5)


def sizes() -> list[tuple[int, int]]:
    """Heights and widths of images; high ones only where Pillow has the order of its passes."""
    sides = [(90, 70), (7, 300), (24, 25), (1, 1), (31, 24)]
    since_13 = int(pillow_version.split(".")[0]) >= 13
    return [*sides, (300, 30), (28, 25), (90, 20)] if since_13 else sides


def noise(height: int, width: int) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(1000 * height + width)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_pillow(image: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    filter_ = Image.Resampling[name.upper()]
    return np.asarray(Image.fromarray(image).resize((SIZE, SIZE), filter_))


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_the_resize_of_the_listing_for_opencv_is_pillows(name: str) -> None:
    """It needs no OpenCV."""
    code = (EXAMPLES / "preprocess_opencv.py").read_text().replace("import cv2\n", "")
    names: dict[str, Any] = {}
    exec(compile(code, "preprocess_opencv.py", "exec"), names)  # noqa: S102
    for sides in sizes():
        image = noise(*sides)
        found = names["resized"](image, SIZE, SIZE, name)
        np.testing.assert_array_equal(found, by_pillow(image, name), str(sides))


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_the_resize_of_the_listing_for_browsers_is_pillows(tmp_path: Path, name: str) -> None:
    """It needs no browser."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    listing = json.dumps((EXAMPLES / "preprocess.mjs").as_uri())
    script = (
        f"import {{ resized }} from {listing};"
        "import { readFileSync, writeFileSync } from 'node:fs';"
        "const [file, side, name, ...sides] = process.argv.slice(2);"
        "const all = readFileSync(file), out = [];"
        "for (let at = 0; sides.length;) {"
        "  const height = +sides.shift(), width = +sides.shift(), end = at + 4 * height * width;"
        "  const image = { data: all.subarray(at, end), width, height };"
        "  out.push(resized(image, +side, +side, name).data); at = end; }"
        "writeFileSync(file, Buffer.concat(out));"
    )
    (tmp_path / "resize.mjs").write_text(script)
    images = [noise(*sides) for sides in sizes()]
    clear = [np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]) for image in images]
    (tmp_path / "pixels").write_bytes(b"".join(image.tobytes() for image in clear))
    numbers = [str(side) for sides in sizes() for side in sides]
    line = [node, tmp_path / "resize.mjs", tmp_path / "pixels", str(SIZE), name, *numbers]
    subprocess.run(line, check=True)
    found = np.frombuffer((tmp_path / "pixels").read_bytes(), np.uint8).reshape(-1, SIZE, SIZE, 4)
    for image, pixels in zip(images, found, strict=True):
        np.testing.assert_array_equal(pixels[..., :3], by_pillow(image, name), str(image.shape))


def test_the_examples_of_the_page_run(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    shutil.copytree(finished_run / "student", tmp_path / "BUNDLE")
    (tmp_path / "photos").mkdir()
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 31, 3), np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo.save(tmp_path / "photos/a.png", exif=exif)
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text()
    for kind, name in (("onnx", "digits.onnx"), ("onnx-staged", "digits-stages"),
                       ("torch-export", "digits.pt2")):  # fmt: skip
        assert cli("export", "BUNDLE", "--format", kind, "--out", name, "-q")[0] == 0
    (line,) = re.findall(r"`erde (export BUNDLE [^`]*--input any[^`]*)`", page)
    lines = [line, *re.findall(r"^\$ erde (.*)$", page, re.MULTILINE)]
    assert len(lines) == 3
    for line in lines:
        code, out, err = cli(*shlex.split(line))
        assert (code, bool(out)) == (0, True), (line, err)
    listings = [(EXAMPLES / name).read_text() for name in LISTINGS]
    blocks = [one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
              if one not in listings]  # fmt: skip
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    labels = []
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)  # noqa: S102
        labels.append(int(names["label"][0]))
    code, out, _ = cli("predict", "BUNDLE", "photos/a.png", "--json")
    assert labels[:2] == [json.loads(out)["images"][0]["label"]] * 2
    pixels = next(pixels_of("photos/a.png", 8, 1)).numpy()
    about = names["described"]
    np.testing.assert_array_equal(names["tensor_of"]("photos/a.png", about), pixels)
