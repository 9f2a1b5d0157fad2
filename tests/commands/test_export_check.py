"""`erde export --check` and `--input any` through the real command line."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from PIL import Image

from erde_cli.app import main
from erde_cli.core.errors import ErdeError
from erde_cli.core.export.onnx_runtime import open_exported

from ..conftest import Cli, JsonOf
from ..edited import edit_json

STAGES = ["stage0.onnx", "stage1.onnx", "stage2.onnx"]


@pytest.fixture(scope="module")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file, stages in float and int8, and a file for images of any size."""
    here = tmp_path_factory.mktemp("check")
    student = str(finished_run / "student")
    for name, *flags in (
        ("m.onnx", "onnx"),
        ("stages", "onnx-staged"),
        ("int8", "onnx-staged", "--int8"),
        ("any.onnx", "onnx", "--input", "any"),
        ("exit2.onnx", "onnx", "--exit", "2"),
        ("portable", "onnx-staged", "--portable"),
    ):
        line = ["export", student, "--out", str(here / name), "-q", "--format", *flags]
        assert main(line) == 0
    return here


@pytest.mark.parametrize("name", ["m.onnx", "stages", "int8", "any.onnx", "exit2.onnx", "portable"])
def test_an_export_answers_its_vector(exported: Path, json_of: JsonOf, name: str) -> None:
    found = json_of("export", exported / name, "--check")
    assert list(found) == ["export", "right", "tolerance", "exits"]
    assert found["right"] is True
    exits = [1] if name == "exit2.onnx" else [0, 1, 2]
    assert [one["found"]["exit"] for one in found["exits"]] == exits
    assert found["tolerance"] == (0.05 if name == "int8" else 5e-4)
    for one in found["exits"]:
        assert list(one) == ["expected", "found", "difference", "right"]
        assert one["difference"] < 1e-4


@pytest.mark.parametrize(
    ("name", "files"),
    [("m.onnx", ["m.onnx"]), ("exit2.onnx", ["exit2.onnx"]), ("stages", STAGES),
     ("portable", STAGES)],
)  # fmt: skip
def test_each_file_is_opened_once(
    exported: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, files: list[str]
) -> None:
    opened, real = [], onnxruntime.InferenceSession

    def open_session(path: Path, *options: Any, **more: Any) -> Any:
        opened.append(path.name)
        return real(path, *options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)
    assert cli("export", exported / name, "--check")[0] == 0
    assert opened == files


def test_damaged_files_that_return_logits_are_refused(
    exported: Path, tmp_path: Path, cli: Cli
) -> None:
    model = onnx.load(exported / "exit2.onnx")
    for key, value, message in (
        ("erde.format", "7", "format"), ("erde.image_size", "9", "differs from image_size"),
        ("erde.static_exit", "0", "test"), ("erde.test", "null", "no check vector"),
        ("erde.portable", "true", "differs from image_size"),
        ("erde.class_names", json.dumps([*"abcdefghijk"]), "logits"),
        ("erde.score", "{", "Expecting"),
    ):  # fmt: skip
        texts = {one.key: one.value for one in model.metadata_props}
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        onnx.helper.set_model_props(changed, {**texts, key: value})
        onnx.save(changed, tmp_path / "m.onnx")
        code, _, err = cli("export", tmp_path / "m.onnx", "--check")
        assert (code, message in err, "Traceback" in err) == (2, True, False), (key, err)
    shutil.copytree(exported / "portable", tmp_path / "portable")
    (tmp_path / "portable/stage1.onnx").write_bytes(b"x")
    code, _, err = cli("export", tmp_path / "portable", "--check")
    assert (code, "is damaged" in err) == (2, True), err


@pytest.mark.parametrize("kind", ["INT64", "UINT16", "BOOL", "STRING", "DOUBLE"])
def test_logits_of_another_type_are_refused(
    kind: str, exported: Path, tmp_path: Path, cli: Cli
) -> None:
    model = onnx.load(exported / "exit2.onnx")
    [logits] = model.graph.output
    type_ = getattr(onnx.TensorProto, kind)
    for node in model.graph.node:
        node.output[:] = ["before" if name == "logits" else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("Cast", ["before"], ["logits"], to=type_))
    logits.type.tensor_type.elem_type = type_
    onnx.save(model, tmp_path / "m.onnx")
    code, _, err = cli("export", tmp_path / "m.onnx", "--check")
    assert (code, "float32" in err, "Traceback" in err) == (2, True, False), err


def test_a_manifest_stands_for_its_folder(exported: Path, json_of: JsonOf) -> None:
    by_folder = json_of("export", exported / "stages", "--check")
    by_file = json_of("export", exported / "stages/manifest.json", "--check")
    assert by_file["exits"] == by_folder["exits"]


def test_a_table_shows_each_exit(exported: Path, cli: Cli) -> None:
    code, out, err = cli("export", exported / "m.onnx", "--check")
    assert (code, err) == (0, "")
    assert [f"{exit_} of 3" in out for exit_ in (1, 2, 3)] == [True] * 3
    assert (out.count("equal"), "differs" in out) == (3, False)


def test_an_answer_that_differs_is_exit_code_1(exported: Path, tmp_path: Path, cli: Cli) -> None:
    model = onnx.load(exported / "m.onnx")
    weights = next(one for one in model.graph.initializer if len(one.dims) == 4)
    changed = numpy_helper.to_array(weights)[..., ::-1].copy()
    weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    onnx.save(model, tmp_path / "m.onnx")
    code, out, _ = cli("export", tmp_path / "m.onnx", "--check")
    assert (code, "differs" in out) == (1, True)
    code, out, _ = cli("export", tmp_path / "m.onnx", "--check", "--json")
    assert (code, json.loads(out)["right"]) == (1, False)


def test_an_export_of_format_1_has_no_vector_but_predicts(
    exported: Path, tmp_path: Path, cli: Cli, json_of: JsonOf
) -> None:
    shutil.copytree(exported / "stages", tmp_path / "old")

    def older(manifest: dict[str, Any]) -> None:
        manifest["network"]["format"] = 1
        del manifest["network"]["input"], manifest["network"]["test"]

    edit_json(tmp_path / "old/manifest.json", older)
    code, _, err = cli("export", tmp_path / "old", "--check")
    assert (code, "no check vector" in err, "format 1" in err) == (2, True, True)
    Image.fromarray(np.full((9, 30, 3), 99, np.uint8)).save(tmp_path / "a.png")
    rows = [json_of("predict", here, tmp_path / "a.png")["images"][0]
            for here in (tmp_path / "old", exported / "stages")]  # fmt: skip
    assert rows[0] == rows[1]


def test_images_of_any_size_give_the_answers_of_predict(
    exported: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    noise = np.random.default_rng(4)
    session = onnxruntime.InferenceSession(exported / "any.onnx")
    names = open_exported(exported / "any.onnx").record.class_names
    for number, sides in enumerate(((8, 8), (19, 13), (5, 60), (3, 2))):
        pixels = noise.integers(0, 256, (*sides, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        label, shares = session.run(["label", "probabilities"], {"image": pixels[None]})
        rows = [
            json_of("predict", exported / name, tmp_path / f"{number}.png")["images"][0]
            for name in ("m.onnx", "any.onnx")
        ]
        assert rows[1]["confidence"] == pytest.approx(rows[0]["confidence"], abs=1e-5)
        assert names[label[0]] == rows[0]["class_name"] == rows[1]["class_name"]
        assert shares[0, label[0]] == pytest.approx(rows[0]["confidence"], abs=0.05)  # 1 level


def test_a_killed_export_leaves_nothing_behind_the_next_one(
    finished_run: Path, tmp_path: Path, json_of: JsonOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from erde_cli.core.workflows import export_int8 as workflow

    (tmp_path / ".erde-new-killed").mkdir()
    (tmp_path / ".erde-new-killed/stage0.onnx").touch()
    (tmp_path / ".erde-new-killed.onnx").touch()
    student, out = finished_run / "student", tmp_path / "any.onnx"
    found = json_of("export", student, "--format", "onnx", "--out", out, "--input", "any")
    assert found["input"] == "any"
    assert list(tmp_path.iterdir()) == [out]

    def stop(folder: Path, *_: Any, single: Path) -> Any:
        assert folder.parent == single.parent == tmp_path  # which the next export sweeps
        assert folder.name.startswith(".erde-new-")
        raise ErdeError("stopped")

    monkeypatch.setattr(workflow, "export_int8", stop)
    line = ["export", str(student), "--format", "onnx", "--int8", "--out", str(out), "-q"]
    assert main(line) == 1
    assert list(tmp_path.iterdir()) == [out]


def test_another_filter_is_refused(finished_run: Path, tmp_path: Path, cli: Cli) -> None:
    shutil.copytree(finished_run / "student", tmp_path / "student")
    edit_json(
        tmp_path / "student/bundle.json",
        lambda document: document["input"]["pixels"].update(interpolation="bicubic"),
    )
    out = tmp_path / "x.onnx"
    code, _, err = cli("export", tmp_path / "student", "--format", "onnx", "--out", out,
                       "--input", "any")  # fmt: skip
    assert (code, "bicubic" in err, out.exists()) == (2, True, False)


def test_a_wrong_vector_leaves_no_file(
    finished_run: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from erde_cli.core.workflows import export as workflow

    right = workflow.expected_vector

    def wrong(*given: Any) -> Any:
        vector = right(*given)
        exits = [one.model_copy(update={"score": one.score + 0.001}) for one in vector.exits]
        return vector.model_copy(update={"exits": exits})

    monkeypatch.setattr(workflow, "expected_vector", wrong)
    out = tmp_path / "x.onnx"
    code, _, err = cli("export", finished_run / "student", "--format", "onnx", "--out", out)
    assert (code, "check vector" in err, out.exists()) == (1, True, False)
