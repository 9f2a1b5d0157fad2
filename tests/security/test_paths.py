"""Names in bundles, manifests, recipes and archives lead nowhere outside."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from erde_cli.core.data.download import _unpack
from erde_cli.core.data.published_files import Archive, DataFile
from erde_cli.core.errors import DataError, RecipeError, RunError
from erde_cli.core.images.listing import list_classes
from erde_cli.core.images.passed_over import PassedOver
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.sections.comparison import ComparedStudent
from erde_cli.core.storage.run_lock import LOCK, one_writer
from erde_cli.core.tracking.kept_run import read_kept

from ..conftest import Cli
from ..edited import edit_json

OUTSIDE = [
    "../outside",
    "/etc",
    "..",
    ".",
    "a/b",
    "",
    "a\0b",
    ".hidden",
    "x\n",
    "\x1b[2J",
    "\u202e",
    "a" * 256,
]


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    edit_json(path, edit)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_class_named_like_a_path_leads_to_no_folder(
    name: str, run_copy: Path, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "data" / "1").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "data" / "1" / "a.png")
    change(run_copy / "student" / "bundle.json", lambda d: d["class_names"].__setitem__(0, name))
    code, _, err = cli("evaluate", run_copy / "student", "--data", tmp_path / "data")
    assert (code, "Traceback" in err) == (2, False)
    assert "class_names" in err
    (tmp_path / "outside").mkdir()
    for outside in (tmp_path, tmp_path / "outside"):
        Image.new("RGB", (8, 8)).save(outside / "b.png")
    with pytest.raises(DataError, match="has no images"):
        list_classes(tmp_path / "data", ["1", name], PassedOver())


@pytest.mark.parametrize("name", ["../../x", "/x", "..", "-x", "x/y", "a" * 101, "x\n", 5, None])
def test_a_recipe_named_like_a_path_is_refused(
    name: Any, tiny_recipe: Path, run_copy: Path, tmp_path: Path, cli: Cli
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: {json.dumps(name)}\n" + tiny_recipe.read_text())
    with pytest.raises(RecipeError, match="name"):
        load_recipe(str(path))
    change(run_copy / "student" / "bundle.json", lambda d: d["recipe"].update(name=name))
    code, _, err = cli("evaluate", run_copy / "student")
    assert (code, "recipe.name" in err, "Traceback" in err) == (2, True, False)


@pytest.mark.parametrize(
    "name", ["../stage0.onnx", "/etc/passwd", "a/b.onnx", "..onnx", "stage0.onnx\n"]
)
def test_a_manifest_names_files_beside_it_alone(name: str, made: Path, cli: Cli) -> None:
    stages = made / "exported" / "stages"
    shutil.copy(stages / "stage0.onnx", stages.parent / "stage0.onnx")
    change(stages / "manifest.json", lambda d: d["stages"][0].update(file=name))
    code, _, err = cli("predict", stages, made)
    assert (code, "not what erde writes" in err) == (2, True)


def test_a_link_in_the_place_of_a_stage_gives_nothing_but_the_stage(made: Path, cli: Cli) -> None:
    stages = made / "exported" / "stages"
    (stages / "stage0.onnx").unlink()
    (stages / "stage0.onnx").symlink_to("/etc/passwd")
    code, out, err = cli("predict", stages, made)
    assert (code, "damaged" in err, "root:" in out + err) == (2, True, False)


@pytest.mark.parametrize("location", ["../../outside.bin", "/etc/passwd", "weights.bin"])
@pytest.mark.parametrize("nested", [False, True])
def test_an_onnx_file_names_no_other_file(
    location: str, nested: bool, made: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    import onnxruntime

    path = made / "exported" / "m.onnx"
    model = onnx.load(path)
    graph = model.graph
    while nested:
        branch = [one for node in graph.node if node.op_type == "If" for one in node.attribute]
        inner = [one.g for one in branch if one.name == "else_branch"]
        if not inner:
            break
        graph = inner[0]
    assert graph.initializer
    tensor = graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    path.write_bytes(model.SerializeToString())
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("opened"))
    code, _, err = cli("predict", path, made)
    assert (code, "is in another file" in err) == (2, True), err


def test_a_tar_gives_its_wanted_files_and_nothing_else(tmp_path: Path) -> None:
    packed, place = tmp_path / "a.tar.gz", tmp_path / "place"
    place.mkdir()
    with tarfile.open(packed, "w:gz") as tar:
        for name in (
            "../evil",
            str(tmp_path / "evil"),
            "base/../../evil",
            "base/wanted",
            "base/other",
        ):
            entry = tarfile.TarInfo(name)
            entry.size = 3
            tar.addfile(entry, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("base/linked")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    files = (DataFile("base/wanted", ""), DataFile("base/linked", ""))
    _unpack(packed, Archive("", "a.tar.gz", "", files), place)
    assert [str(one.relative_to(tmp_path)) for one in sorted(tmp_path.rglob("*"))] == [
        "a.tar.gz", "place", "place/base", "place/base/wanted",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["../../x", "/etc", "..", ".", "a/b", "\x1b[2J", "a b;c", "a\n"])
def test_the_name_of_a_student_names_one_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        ComparedStudent(name=name)


def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    run = tmp_path / "run"
    run.mkdir()
    (run / LOCK).symlink_to(precious)
    with pytest.raises(RunError, match="Cannot open"), one_writer(run):
        pytest.fail("held")
    assert precious.read_text() == "keep me"


def test_files_that_are_links_are_replaced_and_not_written_through(
    run_copy: Path, tmp_path: Path, tiny_recipe: Path, cli: Cli
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    for name in ("run.json", "report.json", "student/evaluation/test/sweep.csv",
                 "student/thresholds.json", "student/evaluation/test/tradeoff.png"):  # fmt: skip
        (run_copy / name).unlink()
        (run_copy / name).symlink_to(precious)
    cli("run", tiny_recipe, "--out", run_copy)
    cli("calibrate", run_copy / "student", "--max-drop", 3)
    cli("evaluate", run_copy / "student")
    assert precious.read_text() == "keep me"
    assert os.listdir(tmp_path)  # noqa: PTH208


@pytest.mark.parametrize("name", [*OUTSIDE, "digits"])
def test_the_run_of_a_tracker_named_like_a_path_is_not_continued(name: str, tmp_path: Path) -> None:
    """TensorBoard's is a folder."""
    kept = {"id": name, "where": "", "recipe": "", "epochs": {}}
    (tmp_path / "logs").mkdir()
    document = {"format": 1, "runs": {"tensorboard": kept}}
    (tmp_path / "logs/trackers.json").write_text(json.dumps(document))
    found = read_kept(tmp_path, "tensorboard")
    assert (found is not None) == (name == "digits")
