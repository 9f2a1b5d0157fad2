"""What fuzzing and looking for holes found, each as small as it can be."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.errors import BundleError
from erde_cli.core.images.listing import list_images
from erde_cli.core.images.named_paths import named_images
from erde_cli.core.images.passed_over import PassedOver
from erde_cli.core.storage.files import digest_of_file

from ..conftest import Cli
from ..fuzz.readers import chain, remove_chain
from .conftest import CACHED, under_its_digest
from .test_paths import change


@pytest.mark.parametrize("odd", [np.nan, np.inf, 3e38, -1.0])
@pytest.mark.parametrize("where", ["running_var", "weight"])
def test_made_up_weights_give_an_error_and_no_traceback(
    odd: float, where: str, run_copy: Path, digit_files: Path, cli: Cli
) -> None:
    student = run_copy / "student"
    weights = load_file(student / "model.safetensors")
    changed = {name: np.full_like(w, odd) if where in name else w for name, w in weights.items()}
    save_file(changed, student / "model.safetensors")
    digest = digest_of_file(student / "model.safetensors")
    for name in ("bundle.json", "thresholds.json"):
        change(student / name, lambda d: d.update(weights_digest=digest))
    harmless = odd == -1.0 if where == "weight" else odd > 0  # what is divided by them is 0
    for command in (
        ["predict", student, digit_files / "0", "--json"], ["evaluate", student],
        ["calibrate", student, "--max-drop", "3"],
    ):  # fmt: skip
        code, _, err = cli(*command)
        assert "Traceback" not in err
        assert harmless or (code, "finite numbers" in err) == (2, True), (command, err)


def test_a_temperature_that_float32_rounds_to_0_is_told(
    run_copy: Path, digit_files: Path, cli: Cli
) -> None:
    student = run_copy / "student"
    change(
        student / "thresholds.json", lambda d: d.update(temperatures=[1e-300] * 3, certified=False)
    )
    code, _, err = cli("predict", student, digit_files / "0")
    assert (code, "Traceback" in err) == (2, False), err


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[str]:
    """A picture in a tree that is deeper than Python recurses."""
    last = chain(tmp_path, 1200)
    Image.new("RGB", (2, 2)).save(f"{last}/x.png")
    yield f"{last}/x.png"
    remove_chain(tmp_path / "d")


def test_a_tree_of_a_thousand_folders_is_walked(
    deep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list_images(tmp_path, PassedOver()) == [deep]
    assert [named.path for named in named_images([str(tmp_path)])] == [deep]
    monkeypatch.chdir(tmp_path)
    assert [named.path for named in named_images(["**/*.png"])] == ["d/" * 1200 + "x.png"]


def test_a_recipe_in_another_encoding_is_told_with_a_hint(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "a.yaml").write_bytes(b"name: \xee\n")
    code, _, err = cli("run", tmp_path / "a.yaml")
    assert (code, "next:" in err) == (2, True)


def test_a_recipe_in_a_bundle_that_is_not_understood_is_told_with_a_hint(run_copy: Path) -> None:
    change(run_copy / "student" / "bundle.json", lambda d: d["recipe"].update(surprise=1))
    bundle = load_bundle(run_copy / "student")
    with pytest.raises(BundleError) as caught:
        _ = bundle.recipe
    assert caught.value.hint


@pytest.mark.parametrize("damage", ["outputs", "labels"])
def test_an_onnx_file_that_answers_otherwise_is_told(
    damage: str, made: Path, digit_files: Path, cli: Cli
) -> None:
    path = made / "exported" / "m.onnx"
    model = onnx.load(path)
    if damage == "outputs":
        del model.graph.output[0]
    else:
        for node in model.graph.node:
            node.output[:] = ["unused" if name == "label" else name for name in node.output]
        wrong = onnx.helper.make_tensor("wrong", onnx.TensorProto.INT64, [1], [10**6])
        model.graph.node.append(onnx.helper.make_node("Constant", [], ["label"], value=wrong))
    onnx.save(model, path)
    code, _, err = cli("predict", path, digit_files / "0")
    assert (code, "Traceback" in err) == (2, False), err
    assert "next:" in err


def test_a_report_of_odd_values_is_made_again(run_copy: Path, tiny_recipe: Path, cli: Cli) -> None:
    before = (run_copy / "report.json").read_text()
    for edit in (
        lambda d: d.update(student=None), lambda d: d["teacher"].update(exits=[]),
        lambda d: d.update(macs_ratio="\x1b[2J"), lambda d: d["student"].update(thresholds=[1]),
    ):  # fmt: skip
        change(run_copy / "report.json", edit)
        code, _, err = cli("run", tiny_recipe, "--out", run_copy, "-q")
        assert (code, "Traceback" in err) == (0, False)
        assert (run_copy / "report.json").read_text()[:200] == before[:200]


def test_an_index_of_decoded_images_that_nests_deeply_is_made_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from erde_cli.core.data.opening import open_dataset
    from erde_cli.core.recipe.sections.data import Data

    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "cache"))
    settings = Data.model_validate({"dataset": "imagefolder", "root": str(folder), "image_size": 8})
    first = open_dataset(settings).fingerprint
    (index,) = (tmp_path / "cache").rglob("index.json")
    for text in ("[" * 100_000, "[]", '{"key": 1}', "9" * 5000, '{"unreadable": {"x": 1}}'):
        index.write_text(text)
        assert open_dataset(settings).fingerprint == first
    shutil.rmtree(tmp_path / "cache")


@pytest.mark.parametrize("part", ["epoch", "optimizer", "log", "metrics"])
def test_a_saved_state_of_another_shape_is_told_and_left_out(
    part: str, made: Path, tiny_recipe: Path, cli: Cli
) -> None:
    paths = sorted((made / "run" / "checkpoints" / "student").iterdir())
    for path in paths:
        saved = torch.load(path, weights_only=True)
        (saved if part == "metrics" else saved["state"])[part] = {"x": torch.zeros(1)}
        stream = io.BytesIO()
        torch.save(saved, stream)
        under_its_digest(path, stream.getvalue())
    shutil.rmtree(made / "run" / "student")
    command = ["distill", tiny_recipe, "--out", made / "run", "--resume", "-q", *CACHED]
    code, _, err = cli(*command)
    assert (code, "Traceback" in err) == (0, False), err
    assert err.count("is ignored: it is not what erde writes") == len(paths)
