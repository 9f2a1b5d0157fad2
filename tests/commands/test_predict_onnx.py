"""`erde predict` through ONNX Runtime: the same rows, the kept stages, exported networks."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from erde_cli.app import main
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.device import make_context
from erde_cli.core.images import decoders
from erde_cli.core.images.named_paths import Named
from erde_cli.core.inference.answers import answer_all, ready
from erde_cli.core.workflows import predict as workflow
from erde_cli.core.workflows.options import Options

from ..conftest import Cli, JsonOf
from ..edited import edit_json, update_json

TEMPERATURES = [0.4, 1.7, 2.5]
ONNX = ("--runtime", "onnx")


@pytest.fixture(scope="module")
def student(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with temperatures; half of the test images leave at exit 1, some at each other."""
    student = tmp_path_factory.mktemp("runtimes") / "student"
    shutil.copytree(finished_run / "student", student)
    bundle, context = load_bundle(student), make_context("cpu")
    store = open_dataset(bundle.recipe.data).load("test")
    scores = answer_all(
        ready(bundle.model, context), store, bundle.normalisation, context, TEMPERATURES
    ).scores
    edit(student, temperatures=TEMPERATURES, thresholds=[gap(scores[:, 0]), gap(scores[:, 1])])
    return student


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of these tests, which all share."""
    root = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERDE_CACHE", str(root))
        yield root / "onnx"


@pytest.fixture(scope="module")
def stages(student: Path, digit_files: Path, cache: Path) -> Path:
    """The student's stages, as the first prediction keeps them."""
    first = str(digit_files / "0/000.png")
    assert main(["predict", str(student), first, *ONNX, "-q"]) == 0
    (folder,) = cache.iterdir()
    return folder


@pytest.fixture(scope="module")
def one_file(student: Path) -> Path:
    out = student.parent / "digits.onnx"
    assert main(["export", str(student), "--format", "onnx", "--out", str(out), "-q"]) == 0
    return out


def edit(bundle: Path, **changed: Any) -> None:
    update_json(bundle / "thresholds.json", **changed)


def gap(scores: np.ndarray) -> float:
    """The middle of the widest gap near the median: no rounding decides there."""
    near = np.sort(scores)[len(scores) // 2 - 10 : len(scores) // 2 + 10]
    at = int(np.argmax(np.diff(near)))
    return float(near[at] + near[at + 1]) / 2


def settled(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("path", "class_name", "label", "exit", "macs")
    return [tuple(row[name] for name in names) for row in rows]


def measured(rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([[row["confidence"], row["entropy"]] for row in rows])


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """The same rows and totals, up to rounding and the clock."""
    assert settled(found["images"]) == settled(expected["images"])
    assert measured(found["images"]) == pytest.approx(measured(expected["images"]), abs=1e-5)
    assert found["failed"] == expected["failed"]
    totals, others = found["totals"], expected["totals"]
    assert list(totals) == list(others)
    clock = {"seconds", "images_per_second", "runtime"}
    for name in set(totals) - clock:
        assert totals[name] == others[name], name


@pytest.mark.parametrize(
    "options",
    [(), ("--threshold", 2.0), ("--threshold", "never"), ("--threshold", "2.2,always"),
     ("--pick", "max-macs=0.8"), ("--batch", 7)],
    ids=str,
)  # fmt: skip
def test_both_runtimes_give_the_same_rows_and_totals(
    student: Path, digit_files: Path, stages: Path, json_of: JsonOf, options: tuple[object, ...]
) -> None:
    expected = json_of("predict", student, digit_files, *options)
    found = json_of("predict", student, digit_files, *options, *ONNX)
    assert_same(found, expected)
    assert (expected["totals"]["runtime"], found["totals"]["runtime"]) == ("torch", "onnx")
    if not options:
        assert {row["exit"] for row in found["images"]} == {0, 1, 2}


def test_failures_tables_and_csv_are_the_same(
    student: Path, digit_files: Path, stages: Path, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "no.png").write_text("no image")
    paths = [digit_files / "0", tmp_path / "no.png", "nowhere.png"]
    shown = []
    for more in ((), ONNX):
        rows = tmp_path / f"rows{len(more)}.csv"
        code, out, err = cli("predict", student, *paths, "--json", "--csv", rows, *more)
        assert code == 1
        assert err.count("Warning") == 2
        table = cli("predict", student, *paths, *more)[1].splitlines()
        with rows.open(newline="") as handle:
            written = list(csv.DictReader(handle))
        shown.append((json.loads(out), [line[:-6] for line in table[:101]], written))
    (expected, lines, rows), (found, other_lines, other_rows) = shown
    assert_same(found, expected)
    assert other_lines == lines
    assert settled(other_rows) == settled(rows)


def test_images_stream_through_it_as_through_torch(
    student: Path, digit_files: Path, stages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "_FILES_AT_ONCE", 4)
    monkeypatch.setattr(decoders, "cores", lambda: 1)
    taken, written, most = 0, 0, 0

    def paths() -> Iterator[Named]:
        nonlocal taken, most
        for _ in range(300):
            taken += 1
            most = max(most, taken - written)
            yield Named(str(digit_files / "0/000.png"))

    def write(rows: workflow.Rows) -> None:
        nonlocal written
        written += len(rows.paths)

    totals = workflow.predict_images(
        student, paths(), Options("cpu", 1), write, workflow.PredictRequest(batch=2, runtime="onnx")
    )
    assert totals.images == written == taken == 300
    assert most <= 9


def test_transparent_pixels_are_what_the_bundle_says_in_an_export_as_well(
    student: Path, stages: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    for name, colour in (("clear", (0, 0, 0, 0)), ("white", (255,) * 4), ("black", (0, 0, 0, 255))):
        Image.new("RGBA", (8, 8), colour).save(tmp_path / f"{name}.png")
    for model in (student, stages):
        rows = {
            Path(row["path"]).stem: row["entropy"]
            for row in json_of("predict", model, tmp_path)["images"]
        }
        # The three are one batch, and an image's place in a batch may change its last bits.
        assert rows["clear"] == pytest.approx(rows["white"], abs=1e-5)
        assert rows["black"] != pytest.approx(rows["white"], abs=1e-5)


def test_stages_are_made_once_for_each_calibration_and_again_where_damaged(
    student: Path, digit_files: Path, stages: Path, cache: Path, tmp_path: Path, cli: Cli
) -> None:
    shutil.copytree(student, tmp_path / "moved")
    before = (tmp_path / "moved/thresholds.json").read_bytes()

    def predicted() -> tuple[bool, list[dict[str, Any]]]:
        line = ("predict", tmp_path / "moved", digit_files / "0", *ONNX, "--json")
        code, out, err = cli(*line)
        assert code == 0, err
        return "Exporting" in err, json.loads(out)["images"]

    made, rows = predicted()
    assert not made  # the fixture did, for another folder with the same content
    edit(tmp_path / "moved", thresholds=["never", "always"], temperatures=None)
    made, others = predicted()
    assert made
    assert {row["exit"] for row in others} == {1}
    assert len(list(cache.iterdir())) == 2
    (tmp_path / "moved/thresholds.json").write_bytes(before)
    assert predicted() == (False, rows)
    damaged = bytearray((stages / "stage1.onnx").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (stages / "stage1.onnx").write_bytes(damaged)
    assert predicted() == (True, rows)
    assert predicted() == (False, rows)
    assert len(list(cache.iterdir())) == 2


def test_an_exported_file_or_folder_is_a_model(
    student: Path, digit_files: Path, stages: Path, one_file: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    shutil.copytree(stages, tmp_path / "digits-stages")
    for options in ((), ("--threshold", 2.0), ("--threshold", "never,2.2"),
                    ("--pick", "max-macs=0.8")):  # fmt: skip
        expected = json_of("predict", student, digit_files / "0", *options)
        for model in (one_file, tmp_path / "digits-stages"):
            found = json_of("predict", model, digit_files / "0", *options)
            assert_same(found, expected)
            assert found["totals"]["runtime"] == "onnx"


def test_what_does_not_go_together_is_one_sentence(
    digit_files: Path, one_file: Path, stages: Path, cli: Cli
) -> None:
    image = digit_files / "0/000.png"
    for line, told in (
        ((stages, image, "--runtime", "torch"), "torch cannot run it"),
        ((one_file, image, "--pick", "max-latency=1"), "erde calibrate BUNDLE --max-latency"),
    ):
        code, out, err = cli("predict", *line)
        assert (code, out) == (2, ""), err
        assert err.startswith("Error: ")
        assert told in err.replace("\n", " "), err


def test_a_promise_that_was_written_into_an_export_is_void(
    stages: Path, digit_files: Path, tmp_path: Path, cli: Cli
) -> None:
    folder = tmp_path / "stages"
    shutil.copytree(stages, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["network"]["calibration"]["certified"] = True
    (folder / "manifest.json").write_text(json.dumps(manifest))
    code, _, err = cli("predict", folder, digit_files / "0/000.png")
    assert code == 2
    assert "its guarantee is void" in err


def test_where_the_images_to_verify_on_are_gone_the_way_round_is_told(
    student: Path, digit_files: Path, tmp_path: Path, cli: Cli
) -> None:
    shutil.copytree(student, tmp_path / "student")
    gone = {"dataset": "imagefolder", "root": str(tmp_path / "gone")}
    path = tmp_path / "student/bundle.json"
    edit_json(path, lambda document: document["recipe"]["data"].update(gone))
    update_json(path, class_names=[f"class {number}" for number in range(10)])  # not kept already
    code, out, err = cli("predict", tmp_path / "student", digit_files / "0/000.png", *ONNX)
    assert (code, out) == (2, "")
    assert f"erde export {tmp_path / 'student'} --format onnx-staged --out FOLDER --data" in err


@pytest.mark.parametrize("line", ["predict student a.png --runtime onnx", "predict a.onnx a.png"])
def test_without_the_extra_one_sentence_says_how_to_get_it(line: str) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None;"  # as if it were not there
        "from erde_cli.app import main; code = main(sys.argv[1:]);"
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *line.split()], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "False"]
    assert "pip install 'erde-cli[onnx]'" in done.stderr


def test_torch_needs_no_extra(student: Path, digit_files: Path) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('onnx', 'onnxruntime', 'onnxscript')));"
        "from erde_cli.app import main; sys.exit(main(sys.argv[1:]))"
    )
    line = ["predict", student, digit_files / "0/000.png", "-q"]
    subprocess.run([sys.executable, "-c", code, *line], capture_output=True, check=True)
