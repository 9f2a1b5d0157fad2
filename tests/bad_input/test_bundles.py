"""Trained models that are not whole, were changed, or belong to something else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from erde_cli.core.storage.files import digest_of_file

from ..edited import sealed
from .case import Case, recipe, written
from .conftest import Refused

STUDENT = "run/student"
WEIGHTS, BUNDLE, THRESHOLDS = "model.safetensors", "bundle.json", "thresholds.json"
TESTS, PROMISE = "tests.json", "calibrate run/student --max-risk 0.3"

Change = Callable[[Path], object]


def made(name: str, change: Change, *says: str, line: str = "profile run/student",
         locked: str = "") -> Case:  # fmt: skip
    """Something done to the student of a finished run."""
    return Case(name, line, says, prepare=lambda here: change(here / STUDENT), locked=locked)


def put(file: str, content: str | bytes) -> Change:
    raw = content.encode() if isinstance(content, str) else content
    return lambda student: (student / file).write_bytes(raw)


def gone(file: str) -> Change:
    return lambda student: (student / file).unlink()


def edited(file: str, dotted: str, value: Any) -> Change:
    """One value of a JSON file changed, or left out where it is `...`."""

    def change(student: Path) -> None:
        document = json.loads((student / file).read_text())
        *sections, key = dotted.split(".")
        inner = document
        for section in sections:
            inner = inner[int(section) if isinstance(inner, list) else section]
        if value is ...:
            del inner[key]
        else:
            inner[key] = value
        if "digest" in document:  # made anew, so that the check after it is reached
            document = sealed(document)
        (student / file).write_text(json.dumps(document))

    return change


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    """Other weights, whose digest is written into the bundle: only their form can tell."""

    def store(student: Path) -> None:
        state = load_file(student / WEIGHTS)
        change(state)
        save_file(state, student / WEIGHTS)
        sign(student)

    return store


def sign(student: Path) -> None:
    edited(BUNDLE, "weights_digest", digest_of_file(student / WEIGHTS))(student)


def cut(student: Path) -> None:
    path = student / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def cut_and_signed(student: Path) -> None:
    cut(student)
    sign(student)


def flipped(student: Path) -> None:
    content = bytearray((student / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (student / WEIGHTS).write_bytes(content)


def first(state: dict[str, torch.Tensor]) -> str:
    return next(name for name, tensor in state.items() if tensor.ndim == 4)


def wider(state: dict[str, torch.Tensor]) -> None:
    state[first(state)] = torch.zeros(5, 3, 3, 3)


def lacking(state: dict[str, torch.Tensor]) -> None:
    del state[first(state)]


def more(state: dict[str, torch.Tensor]) -> None:
    state["extra.weight"] = torch.zeros(1)


def as_folder(file: str) -> Change:
    def change(student: Path) -> None:
        (student / file).unlink()
        (student / file).mkdir()

    return change


def as_pipe(file: str) -> Change:
    def change(student: Path) -> None:
        (student / file).unlink()
        os.mkfifo(student / file)

    return change


def of_teacher(file: str) -> Change:
    return lambda student: shutil.copy(student.parent / "teacher" / file, student / file)


def notes(student: Path) -> None:
    """A folder of the user's own in the place of the student."""
    shutil.rmtree(student)
    student.mkdir()
    (student / "thesis.txt").write_text("precious")


def calibrated_teacher(student: Path) -> None:
    """Thresholds of the student in the teacher's bundle."""
    shutil.copy(student / THRESHOLDS, student.parent / "teacher" / THRESHOLDS)


def wide_of_depth_8(student: Path) -> None:
    edited(BUNDLE, "architecture.backbone", "wrn")(student)


NAN = '{"format": 1, "role": NaN}'
DEEP = '{"format": ' + "[" * 100_000
GONE = {"dataset": "imagefolder", "root": "/nowhere", "image_size": 8}

DOCUMENTS = [
    made("no bundle.json", gone(BUNDLE), STUDENT, "without bundle.json"),
    made("no weights", gone(WEIGHTS), STUDENT, WEIGHTS),
    made("bundle.json is a folder", as_folder(BUNDLE), STUDENT, "bundle.json"),
    made("bundle.json is a pipe", as_pipe(BUNDLE), STUDENT, "bundle.json"),
    made("the weights are a folder", as_folder(WEIGHTS), STUDENT, WEIGHTS),
    made("the weights are a pipe", as_pipe(WEIGHTS), STUDENT, WEIGHTS),
    made("bundle.json cannot be opened", lambda _: None, BUNDLE, "Permission denied",
         locked=BUNDLE),
    made("the weights cannot be opened", lambda _: None, WEIGHTS, "Permission denied",
         locked=WEIGHTS),
    made("a bundle in a closed folder", lambda _: None, STUDENT, "Permission denied",
         locked="student"),
    made("an empty bundle.json", put(BUNDLE, ""), BUNDLE, "JSON"),
    made("a bundle.json cut off", put(BUNDLE, '{"format": 1, "role"'), BUNDLE, "JSON"),
    made("a bundle.json of bytes", put(BUNDLE, b"\xff\xfe\0"), BUNDLE, "JSON"),
    made("a bundle.json of brackets", put(BUNDLE, DEEP), BUNDLE, "JSON"),
    made("a bundle.json of an endless number", put(BUNDLE, '{"format": ' + "9" * 5000 + "}"),
         BUNDLE),
    made("a list", put(BUNDLE, "[1]"), BUNDLE, "format None"),
    made("a bundle.json of YAML", put(BUNDLE, "format: 1"), BUNDLE, "JSON"),
    made("nan", put(BUNDLE, NAN), BUNDLE, "NaN is not a finite number"),
    made("format 99", edited(BUNDLE, "format", 99), BUNDLE, "format 99", "format 1"),
    made("format as a text", edited(BUNDLE, "format", "1"), BUNDLE, "format 1"),
    made("no format", edited(BUNDLE, "format", ...), BUNDLE, "format None"),
    *(
        made(f"no {key}", edited(BUNDLE, key, ...), BUNDLE, key, "required")
        for key in ("role", "architecture", "class_names", "recipe", "weights_digest",
                    "normalisation", "architecture.cuts", "architecture.classes")
    ),
    made("an unknown key", edited(BUNDLE, "quantised", value=True), BUNDLE, "quantised"),
    made("a role of its own", edited(BUNDLE, "role", "assistant"), BUNDLE, "role", "teacher"),
    made("a negative width", edited(BUNDLE, "architecture.width", -4), BUNDLE, "width"),
    made("a depth of 0", edited(BUNDLE, "architecture.depth", 0), BUNDLE, "depth"),
    made("a depth that there is not", edited(BUNDLE, "architecture.depth", 9), BUNDLE, "9"),
    made("a wide network of depth 8", wide_of_depth_8, BUNDLE, "wrn of depth 8"),
    made("images of 10^9 pixels", edited(BUNDLE, "architecture.image_size", 10**9), "image_size"),
    made("a backbone from elsewhere", edited(BUNDLE, "architecture.backbone", "vit"), "'vit'"),
    made("heads from elsewhere", edited(BUNDLE, "architecture.head", "mlp"), "'mlp'"),
    made("cuts that fall", edited(BUNDLE, "architecture.cuts", [2, 1]), "[2, 1]"),
    made("cuts behind the last block", edited(BUNDLE, "architecture.cuts", [1, 99]), "[1, 99]"),
    made("negative cuts", edited(BUNDLE, "architecture.cuts", [-1, 1]), "[-1, 1]"),
    made("another width", edited(BUNDLE, "architecture.width", 8), WEIGHTS, "do not fit"),
    made("another number of classes", edited(BUNDLE, "architecture.classes", 9), BUNDLE, "9"),
    made("a class name less", edited(BUNDLE, "class_names", list("012345678")), "9 classes"),
    made("one class", edited(BUNDLE, "class_names", ["0"]), "class_names"),
    made("a deviation of 0", edited(BUNDLE, "normalisation.std", [0, 1, 1]), "normalisation.std"),
    made("two channels", edited(BUNDLE, "normalisation.mean", [0, 1]), "normalisation.mean"),
    made("a recipe of another version", edited(BUNDLE, "recipe.data.colour", "grey"), BUNDLE,
         "data.colour", line="evaluate run/student"),
]  # fmt: skip

CONTENT = [
    made("a bit turned", flipped, WEIGHTS, "digest"),
    made("weights cut off", cut, WEIGHTS, "digest"),
    made("weights cut off and signed", cut_and_signed, WEIGHTS, "do not fit"),
    made("another digest", edited(BUNDLE, "weights_digest", "0" * 64), WEIGHTS, "000000000000"),
    made("a pickle as weights", put(WEIGHTS, b"\x80\x04K\x01."), WEIGHTS, "digest"),
    made("empty weights", put(WEIGHTS, b""), WEIGHTS, "digest"),
    made("the teacher's weights", of_teacher(WEIGHTS), WEIGHTS, "digest"),
    made("the teacher's bundle.json", of_teacher(BUNDLE), WEIGHTS, "digest"),
    made("a layer of other form", weights(wider), WEIGHTS, "do not fit"),
    made("a layer less", weights(lacking), WEIGHTS, "do not fit"),
    made("a layer more", weights(more), WEIGHTS, "do not fit"),
]

CALIBRATION = [
    made("thresholds of the student in the teacher", calibrated_teacher, "teacher/thresholds.json",
         "other weights", "erde calibrate run/teacher", line="profile run/teacher"),
    made("thresholds of another digest", edited(THRESHOLDS, "weights_digest", "0" * 64),
         THRESHOLDS, "other weights", "erde calibrate run/student"),
    made("no thresholds to predict by", gone(THRESHOLDS), "no thresholds",
         "erde calibrate run/student --max-drop 1", "--threshold",
         line="predict run/student a.png"),
    made("no thresholds to export", gone(THRESHOLDS), "no thresholds", "erde calibrate",
         line="export run/student --format torch-export --out x.pt2"),
    made("no thresholds to pick from", gone(THRESHOLDS), "no thresholds", "erde calibrate",
         line="calibrate run/student --pick max-drop=1"),
    made("what a pick needs was not measured", lambda _: None, "--max-latency", "no latencies",
         line="calibrate run/student --pick max-latency=5"),
    made("a pick of a promise that is not there", lambda _: None, "no bounds of risk",
         line="predict run/student a.png --pick max-risk=0.1"),
    made("thresholds.json is a folder", as_folder(THRESHOLDS), THRESHOLDS),
    made("thresholds.json is a pipe", as_pipe(THRESHOLDS), THRESHOLDS),
    made("thresholds.json cannot be opened", lambda _: None, THRESHOLDS, "Permission denied",
         locked=THRESHOLDS),
    made("an empty thresholds.json", put(THRESHOLDS, ""), THRESHOLDS, "JSON"),
    made("a thresholds.json of a list", put(THRESHOLDS, "[0.5]"), THRESHOLDS, "format None"),
    made("thresholds of format 1", edited(THRESHOLDS, "format", 1), THRESHOLDS, "format 1",
         "erde calibrate"),
    made("thresholds of format 99", edited(THRESHOLDS, "format", 99), THRESHOLDS, "format 99"),
    made("one threshold less", edited(THRESHOLDS, "thresholds", [0.5]), THRESHOLDS, "1 thresholds"),
    made("a threshold more", edited(THRESHOLDS, "thresholds", [1, 1, 1]), "3 thresholds"),
    made("a negative threshold", edited(THRESHOLDS, "thresholds", [-1, 1]), THRESHOLDS, "-1"),
    made("a threshold of nan", edited(THRESHOLDS, "thresholds", [float("nan"), 1]), THRESHOLDS),
    made("a threshold in words", edited(THRESHOLDS, "thresholds", ["often", 1]), "thresholds"),
    made("a list of values for another target",
         edited(THRESHOLDS, "target", {"kind": "max_drop", "value": [1, 2], "unit": "points",
                                       "how": "searched", "metric": "accuracy"}),
         THRESHOLDS, "target"),
    made("an empty list of given thresholds",
         edited(THRESHOLDS, "target", {"kind": "threshold", "value": [], "unit": "nats",
                                       "how": "searched"}), THRESHOLDS, "target"),
    *(made(f"three thresholds for two early exits: {line}", lambda _: None, "got:      3",
           "expected: 2", "--threshold 0.5,0.5", line=f"{line} --threshold 0.1,0.2,never")
      for line in ("calibrate run/student", "evaluate run/student", "predict run/student a.png")),
    made("a temperature of 0", edited(THRESHOLDS, "temperatures", [0, 1, 1]), "temperatures"),
    made("a share of 200 %", edited(THRESHOLDS, "accuracy", 2), "accuracy"),
    made("no frontier", edited(THRESHOLDS, "frontier", []), THRESHOLDS, "no frontier"),
    made("a promise written by hand", edited(THRESHOLDS, "certified", value=True), THRESHOLDS,
         "void"),
    made("an empty tests.json", put(TESTS, ""), TESTS, "JSON", "restore the file", line=PROMISE),
    made("tests of format 99", put(TESTS, '{"format": 99}'), TESTS, "format 99", line=PROMISE),
    made("tests without a seal", put(TESTS, '{"format": 1, "tests": [], "images": {}}'),
         TESTS, "seal", line=PROMISE),
    made("tests written by hand",
         put(TESTS, '{"format": 1, "tests": [], "images": {}, "seal": ""}'), TESTS,
         "digest", line=PROMISE),
    made("tests.json is a pipe", lambda student: os.mkfifo(student / TESTS), TESTS, "not a file",
         line=PROMISE),
    made("tests.json cannot be opened", put(TESTS, "{}"), TESTS, "Permission denied",
         line=PROMISE, locked=TESTS),
    made("a network in the place of tests that cannot be kept",
         lambda student: (student / TESTS).mkdir(), TESTS, "would lose it",
         line="distill digits --out run"),
    made("notes in the place of the student", notes, "run/student", "other files",
         line="distill digits --out run"),
    *(made(f"images that are gone: {line}", edited(BUNDLE, "recipe.data", GONE), "put the images",
           line=line)
      for line in ("calibrate run/student --max-drop 1", "evaluate run/student",
                   "profile run/student --latency")),
    made("another precision", lambda _: None, "--precision bfloat16", "float32",
         line="evaluate run/student --precision bfloat16"),
]  # fmt: skip


def elsewhere(name: str, line: str, *says: str, files: dict[str, str | bytes] | None = None,
              prepare: Change | None = None) -> Case:  # fmt: skip
    return Case(name, line, says, files or {}, prepare)


def round_link(here: Path) -> None:
    (here / "round").symlink_to("round")


def empty(here: Path) -> None:
    (here / "empty").mkdir()


def stages(manifest: str) -> Change:
    def make(here: Path) -> None:
        (here / "stages").mkdir()
        (here / "stages" / "manifest.json").write_text(manifest)

    return make


def run_json(text: str) -> Change:
    return lambda here: (here / "run" / "run.json").write_text(text)


def comparison_of_lists(here: Path) -> None:
    (here / "out").mkdir()
    claimed = {"format": 1, "recipe": {}, "teacher": None}
    (here / "out" / "compare.json").write_text(json.dumps(claimed))
    (here / "out" / "results.json").write_text("[]")


def comparison_of_texts(here: Path) -> None:
    (here / "out").mkdir()
    (here / "out" / "compare.json").write_text("[]")


SIXTEEN = written(recipe({"data.image_size": 16}))
TWO = written(recipe({"student.exits": [1], "distillation.pairing": [0, 1]}))
SEEDED = written(recipe({"data.split_seed": 5}))
PICTURE = {"a.png": b"x"}

PLACES = [
    elsewhere("no such bundle", "evaluate gone", "gone", "no such folder"),
    elsewhere("a run in the place of its student", "evaluate run", "run", "run/student"),
    elsewhere("a run in the place of its student, to predict", "predict run a.png", "run/student",
              files=PICTURE),
    elsewhere("an empty folder as a bundle", "evaluate empty", "empty", prepare=empty),
    elsewhere("a file as a bundle", "evaluate model.pt", "model.pt", "a file",
              files={"model.pt": b"PK\3\4"}),
    elsewhere("the weights as a bundle", "evaluate run/student/model.safetensors",
              "model.safetensors", "a file"),
    elsewhere("bundle.json as a bundle", "predict run/student/bundle.json a.png", "a file",
              files=PICTURE),
    elsewhere("a link to itself as a bundle", "profile round", "round", prepare=round_link),
    elsewhere("a recipe as a bundle", "calibrate mine.yaml --max-drop 1", "mine.yaml", "a file",
              files={"mine.yaml": SIXTEEN}),
    elsewhere("a bundle as a recipe", "run run/student", "run/student", "a folder"),
    elsewhere("no such export", "predict gone.onnx a.png", "gone.onnx", files=PICTURE),
    elsewhere("an empty export", "predict x.onnx a.png", "x.onnx",
              files={**PICTURE, "x.onnx": b""}),
    elsewhere("a text as an export", "predict x.onnx a.png", "x.onnx",
              files={**PICTURE, "x.onnx": b"onnx"}),
    elsewhere("a folder as an export", "predict run.onnx a.png", "run.onnx", files=PICTURE,
              prepare=lambda here: (here / "run.onnx").mkdir()),
    elsewhere("stages without a manifest that can be read", "predict stages a.png", "manifest.json",
              files=PICTURE, prepare=stages("{")),
    elsewhere("stages of a manifest of nothing", "predict stages a.png", "manifest.json",
              files=PICTURE, prepare=stages("{}")),
    elsewhere("a text as an export to check", "export x.onnx --check", "x.onnx",
              files={"x.onnx": b"onnx"}),
    elsewhere("a bundle as an export to check", "export run/student --check", "manifest.json"),
    elsewhere("no such teacher", "distill digits --teacher gone --out out", "gone"),
    elsewhere("a run as a teacher", "distill digits --teacher run --out out", "run/teacher"),
    elsewhere("a teacher for other pixels",
              "distill mine.yaml --teacher run/teacher --out out", "8 pixels", "image_size",
              files={"mine.yaml": SIXTEEN}),
    elsewhere("a teacher with fewer exits", "distill mine.yaml --out out --teacher run/teacher "
              "--set distillation.pairing=[0,9]", "from 0 to 2", files={"mine.yaml": TWO}),
    elsewhere("a teacher of other splits", "distill mine.yaml --teacher run/teacher --out out",
              "run/teacher", "split fingerprint", files={"mine.yaml": SEEDED}),
    elsewhere("a teacher for a student alone", "distill digits --teacher run/teacher --out out "
              "--set distillation.method=cross_entropy", "cross_entropy", "--teacher run/teacher"),
    elsewhere("no such teacher to mark", "evaluate run/student --teacher gone", "gone"),
    elsewhere("a comparison with a teacher of other splits",
              "compare mine.yaml --teacher run/teacher --out out", "run/teacher",
              files={"mine.yaml": SEEDED}),
    elsewhere("a run folder of another recipe", "run mine.yaml --out run", "another recipe",
              "split_seed", "--force", files={"mine.yaml": SEEDED}),
    *(elsewhere(f"a run.json of {text}", "run mine.yaml --out run", "run.json",
                prepare=run_json(text), files={"mine.yaml": written(recipe())})
      for text in ("[]", "{", "null", '{"recipe": 5}')),
    elsewhere("a compare.json of a list", "compare digits --out out", "compare.json",
              prepare=comparison_of_texts),
    elsewhere("a run folder for a comparison", "compare digits --out run",
              "not part of a comparison"),
    elsewhere("a report of a folder of something else", "report other", "other",
              "not a run, a comparison or a bundle", files={"other/a.txt": "x"}),
    elsewhere("a report of nothing", "report gone", "gone", "no such folder"),
    elsewhere("a report of a file", "report run/report.json", "a file"),
    elsewhere("a report as a picture", "report run --out page.pdf", "page.pdf", ".html or .md"),
    elsewhere("a report over a file that is none", "report run --out mine.html", "mine.html",
              "not a report of erde", files={"mine.html": "<p>mine</p>"}),
    elsewhere("a report over a folder", "report run --out mine.md", "a folder",
              files={"mine.md/a.txt": "x"}),
    elsewhere("a report of a damaged run.json", "report run", "run.json",
              prepare=run_json("[]")),
    elsewhere("a report of a results.json of a list", "report out", "results.json",
              prepare=comparison_of_lists),
    elsewhere("a report of a compare.json of a list", "report out", "compare.json",
              prepare=comparison_of_texts),
    elsewhere("images of a folder that was not calibrated on", "export run/student "
              "--format onnx-staged --out run", "run", "manifest.json"),
    elsewhere("an exit too many", "export run/student --format onnx --exit 9 --out x.onnx",
              "has no exit 9", "--exit 9", "from 1 to"),
]  # fmt: skip


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("case", [*DOCUMENTS, *CONTENT, *CALIBRATION, *PLACES], ids=str)
def test_a_bad_bundle_is_refused(case: Case, refused: Refused) -> None:
    (Path("a.png")).write_bytes(b"x")
    refused(case)
