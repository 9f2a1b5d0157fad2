"""`erde export` through the real command line: what is in the files, and what is refused."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import ExifTags, Image

from erde_cli.app import main
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.data.given_images import pixels_of
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.device import make_context
from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.export import check as export_check
from erde_cli.core.export import network as export_network
from erde_cli.core.export import onnx_single as onnx_file
from erde_cli.core.export import torch_export
from erde_cli.core.export.onnx_runtime import open_exported
from erde_cli.core.inference.answers import answer_all, ready
from erde_cli.core.models.folding import folded
from erde_cli.core.thresholds.scores import ENTROPY

from ..conftest import Cli, JsonOf
from ..edited import edit_json, update_json

ROOT = Path(__file__).parents[2]
TEMPERATURES = [0.4, 1.7, 2.5]
FORMATS = {"onnx": "model.onnx", "onnx-staged": "stages", "torch-export": "model.pt2"}


@pytest.fixture(scope="module")
def student(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with temperatures, and thresholds that send images to every exit."""
    student = tmp_path_factory.mktemp("export") / "student"
    shutil.copytree(finished_run / "student", student)
    bundle = load_bundle(student)
    context = make_context("cpu")
    store = open_dataset(bundle.recipe.data).load("calibration")
    scores = answer_all(
        ready(bundle.model, context), store, bundle.normalisation, context, TEMPERATURES
    ).scores
    # Between two scores, so that no image is too close.
    thresholds = [middle(scores[:, exit_]) for exit_ in (0, 1)]
    update_json(student / "thresholds.json", temperatures=TEMPERATURES, thresholds=thresholds)
    return student


@pytest.fixture
def copy(student: Path, tmp_path: Path) -> Path:
    shutil.copytree(student, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def exported(student: Path) -> Path:
    """All three formats, beside the bundle."""
    folder = student.parent
    for kind, name in FORMATS.items():
        line = ["export", str(student), "--format", kind, "--out", str(folder / name), "-q"]
        assert main(line) == 0
    return folder


@pytest.fixture(scope="module")
def pixels(student: Path) -> NDArray[np.uint8]:
    store = open_dataset(load_bundle(student).recipe.data).load("test")
    return store.part(0, 60).numpy()


def middle(scores: NDArray[np.float64]) -> float:
    ordered = np.sort(scores)
    half = len(ordered) // 2
    gap = int(np.argmax(np.diff(ordered[half - 5 : half + 5]))) + half - 5
    return float(ordered[gap] + ordered[gap + 1]) / 2


def edited(bundle: Path, **changed: Any) -> None:
    update_json(bundle / "thresholds.json", **changed)


def graphs(graph: onnx.GraphProto, depth: int = 0) -> Iterator[tuple[int, onnx.GraphProto]]:
    """A graph and all inside it, each with its depth."""
    yield depth, graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g, depth + 1)


def test_later_stages_lie_inside_the_branches(student: Path, exported: Path) -> None:
    whole = onnx.load(exported / "model.onnx")
    found = list(graphs(whole.graph))
    assert sorted(depth for depth, _ in found) == [0, 1, 1, 2, 2]
    for depth, graph in found:
        kinds = [node.op_type for node in graph.node]
        assert kinds.count("If") == (1 if graph.name in ("erde", "go_on") and depth < 2 else 0)
        if graph.name == "leave":
            assert set(kinds) == {"Identity", "Constant"}
            continue
        stages = {node.name.split("/")[0] for node in graph.node if node.op_type == "Conv"}
        assert stages == {f"stage{depth}"}
    assert whole.ir_version == 8
    assert [(one.domain, one.version) for one in whole.opset_import] == [("", 18)]


def test_every_weight_is_there_once_and_norms_are_folded(student: Path, exported: Path) -> None:
    whole = onnx.load(exported / "model.onnx")
    tensors = [tensor for _, graph in graphs(whole.graph) for tensor in graph.initializer]
    names = [tensor.name for tensor in tensors]
    assert len(names) == len(set(names))
    kinds = {node.op_type for _, graph in graphs(whole.graph) for node in graph.node}
    assert "BatchNormalization" not in kinds
    network = folded(load_bundle(student).model)
    weights = sum(parameter.numel() for parameter in network.parameters())
    held = sum(int(np.prod(tensor.dims)) for tensor in tensors)
    assert weights <= held <= weights + 100  # thresholds, temperatures, normalisation, shapes


def test_nothing_of_the_machine_is_in_the_files(exported: Path) -> None:
    files = (exported / "model.onnx", *(exported / "stages").iterdir(), exported / "model.pt2")
    for path in files:
        content = path.read_bytes()
        for told in (str(ROOT), str(exported), "site-packages", "stack_trace", ".py", "erde-new"):
            assert told.encode() not in content, (path, told)


def test_the_archive_of_torch_is_named_after_no_file(exported: Path) -> None:
    with zipfile.ZipFile(exported / "model.pt2") as archive:
        entries = archive.infolist()
        assert {entry.filename.split("/")[0] for entry in entries} == {"archive"}
        assert len({entry.date_time for entry in entries}) == 1
        assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}  # as looked for
        sample = archive.read("archive/data/sample_inputs/model.pt")
    with zipfile.ZipFile(BytesIO(sample)) as inner:
        assert {name.split("/")[0] for name in inner.namelist()} == {"archive"}


def test_two_exports_are_the_same_bytes(student: Path, exported: Path, tmp_path: Path) -> None:
    """Made in another folder, of a bundle in another one, by another process."""
    shutil.copytree(student, tmp_path / "moved")
    code = (
        "import sys; from erde_cli.app import main\n"
        "for kind, out in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    assert main(['export', 'moved', '--format', kind, '--out', out, '-q']) == 0\n"
    )
    line = [sys.executable, "-c", code, *(part for pair in FORMATS.items() for part in pair)]
    subprocess.run(line, cwd=tmp_path, check=True, capture_output=True)
    for kind in FORMATS.values():
        made, first = tmp_path / kind, exported / kind
        for name in [path.name for path in made.iterdir()] if made.is_dir() else [""]:
            assert (made / name).read_bytes() == (first / name).read_bytes(), (kind, name)


def test_onnx_runtime_says_one_thing_at_most_when_it_opens_a_file(
    student: Path, exported: Path, tmp_path: Path
) -> None:
    """And nothing where it is opened as the page shows."""
    assert main(["export", str(student), "--format", "onnx-staged", "--int8", "--out",
                 str(tmp_path / "int8"), "-q"]) == 0  # fmt: skip
    files = [
        exported / "model.onnx",
        *exported.glob("stages/*.onnx"),
        *tmp_path.glob("int8/*.onnx"),
    ]
    code = (
        "import sys, onnxruntime\n"
        "for path in sys.argv[2:]:\n"
        "    options = onnxruntime.SessionOptions()\n"
        "    options.log_severity_level = int(sys.argv[1])\n"
        "    onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code, level, *files], capture_output=True, text=True, check=True
        ).stderr.strip()
        for level in ("2", "3")  # 2: of a session that is told nothing
    ]
    assert said[1] == ""
    assert len(said[0].splitlines()) == 1
    assert "Initializer thresholds appears in graph inputs" in said[0]
    page = (ROOT / "docs/export.md").read_text()
    assert "Initializer thresholds appears in graph inputs" in page
    assert "log_severity_level = 3" in page


def test_thresholds_have_a_default_and_can_be_given(
    student: Path, exported: Path, pixels: NDArray[np.uint8]
) -> None:
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    assert [one.name for one in session.get_inputs()] == ["image"]
    assert [one.name for one in session.get_overridable_initializers()] == ["thresholds"]
    assert [(one.name, one.shape) for one in session.get_outputs()] == [
        ("probabilities", [1, 10]), ("label", [1]), ("exit", [1]),
    ]  # fmt: skip
    expected = load_bundle(student).predict(pixels)
    found = [int(session.run(["exit"], {"image": one[None]})[0][0]) for one in pixels]
    assert found == [one.exit for one in expected]
    assert set(found) == {0, 1, 2}
    for thresholds, exit_ in (([np.inf, 0], 0), ([0, np.inf], 1), ([0, 0], 2)):
        given = np.array(thresholds, np.float32)
        assert session.run(["exit"], {"image": pixels[:1], "thresholds": given})[0] == exit_


@pytest.mark.parametrize("kind", FORMATS)
def test_answers_are_those_of_predict_at_every_exit(
    student: Path, exported: Path, pixels: NDArray[np.uint8], kind: str
) -> None:
    bundle, path = load_bundle(student), exported / FORMATS[kind]
    network = (
        torch_export.TorchExported(path)
        if kind == "torch-export"
        else open_exported(path, threads=1)
    )
    settings = (None, ["always", "always"], ["never", "always"], ["never", "never"], [1.9, 2.0])
    words = {"never": 0.0, "always": np.inf}
    for thresholds in settings:
        expected = bundle.predict(pixels, thresholds=thresholds)
        given = None if thresholds is None else [float(words.get(t, t)) for t in thresholds]
        found = network.answer(pixels, given)
        assert found.exits.tolist() == [one.exit for one in expected]
        assert found.labels.tolist() == [one.label for one in expected]
        sure = found.probabilities[np.arange(len(pixels)), found.labels]
        assert sure == pytest.approx([one.confidence for one in expected], abs=1e-5)
        assert found.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_normalised_images_where_preprocessing_is_left_out(
    student: Path, exported: Path, pixels: NDArray[np.uint8], tmp_path: Path, json_of: JsonOf
) -> None:
    inside = open_exported(exported / "model.onnx").answer(pixels)
    for kind, name in FORMATS.items():
        out = tmp_path / name
        line = ("export", student, "--format", kind, "--out", out, "--no-preprocessing")
        assert json_of(*line)["preprocessing"] is False
        opened = torch_export.TorchExported(out) if kind == "torch-export" else open_exported(out)
        assert opened.record.preprocessing is False
        found = opened.answer(pixels)
        assert found.exits.tolist() == inside.exits.tolist()
        assert found.probabilities == pytest.approx(inside.probabilities, abs=1e-5)
    takes = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_inputs()[0]
    assert (takes.type, takes.shape) == ("tensor(float)", [1, 3, 8, 8])
    takes = onnxruntime.InferenceSession(exported / "model.onnx").get_inputs()[0]
    assert (takes.type, takes.shape) == ("tensor(uint8)", [1, 8, 8, 3])


def test_the_metadata_tells_what_it_is(student: Path, exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    texts = session.get_modelmeta().custom_metadata_map
    held = {name: json.loads(text) for name, text in texts.items()}
    bundle = json.loads((student / "bundle.json").read_text())
    assert held["erde.format"] == 2
    assert held["erde.class_names"] == bundle["class_names"]
    assert held["erde.weights_digest"] == bundle["weights_digest"]
    assert held["erde.normalisation"] == bundle["normalisation"]
    assert held["erde.calibration"] == json.loads((student / "thresholds.json").read_text())
    assert set(held["erde.versions"]) == {"erde-cli", "torch", "onnx", "onnxscript"}
    manifest = json.loads((exported / "stages/manifest.json").read_text())
    assert {f"erde.{name}": value for name, value in manifest["network"].items()} == held


def test_json_has_the_documented_keys(student: Path, tmp_path: Path, json_of: JsonOf) -> None:
    out = tmp_path / "new/folder/model.onnx"
    found = json_of("export", student, "--format", "onnx", "--out", out)
    checks = found["verified"]["checks"]
    documented = next(
        line for line in (ROOT / "docs/json.md").read_text().splitlines() if "| `export`" in line
    )
    keys = {*found, *found["verified"], *checks[0]}
    listed = re.sub(r"\(.*?\)", "", documented.split("|")[2])
    assert keys == set(re.findall(r"\b[a-z_]+\b", listed))
    assert (found["exit"], found["portable"], found["input"]) == (None, False, None)
    assert found["bytes"] == out.stat().st_size
    assert found["temperatures"] == TEMPERATURES
    assert [check["thresholds"] for check in checks] == [
        found["thresholds"], ["always", "always"], ["never", "always"], ["never", "never"],
    ]  # fmt: skip
    assert [check["exits"] for check in checks[1:]] == (144 * np.eye(3, dtype=int)).tolist()
    assert all(checks[0]["exits"])
    assert sum(check["near_threshold"] for check in checks) == 0
    assert 0 < found["verified"]["largest_difference"] < 1e-5
    assert found["verified"]["images"] == 144


def test_a_network_up_to_an_exit_takes_batches_and_says_so(
    student: Path, tmp_path: Path, json_of: JsonOf, cli: Cli, pixels: NDArray[np.uint8]
) -> None:
    out = tmp_path / "exit2.onnx"
    found = json_of("export", student, "--format", "onnx", "--exit", 2, "--portable", "--out", out)
    assert (found["exit"], found["portable"]) == (1, True)
    (check,) = found["verified"]["checks"]
    assert (check["thresholds"], check["exits"]) == (["never", "always"], [0, 144, 0])
    session = onnxruntime.InferenceSession(out)
    planes = (pixels.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    (logits,) = session.run(None, {"image": planes})
    expected = load_bundle(student).predict(pixels, thresholds=["never", "always"])
    assert logits.argmax(axis=1).tolist() == [one.label for one in expected]
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    code, shown, err = cli("predict", out, tmp_path / "a.png")
    assert (code, shown) == (2, "")
    assert "is a static network for other runtimes" in " ".join(err.split())
    code, _, err = cli("export", student, "--format", "onnx", "--exit", 4, "--out", out)
    assert (code, "a number from 1 to 3" in err) == (2, True)


BREAKS: dict[str, tuple[Any, str, Any, str]] = {
    "thresholds": (onnx_file, "float32_thresholds", lambda v: np.zeros(2, np.float32), "leave at"),
    "temperatures": (
        export_network,
        "score_of",
        lambda logits, *_: ENTROPY.value(logits),
        "leave at",
    ),
    "tolerance": (export_check, "TOLERANCE", 0.0, "probabilities differ"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_export_leaves_no_file(
    student: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    module, name, value, told = BREAKS[broken]
    monkeypatch.setattr(module, name, value)
    out = tmp_path / "model.onnx"
    if broken == "tolerance":
        out.write_text("older")
    code, shown, err = cli("export", student, "--format", "onnx", "--out", out, "--json")
    assert (code, json.loads(shown)["error"]["exit_code"]) == (1, 1)
    assert "was not kept" in err
    assert told in err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"] * (broken == "tolerance")


@pytest.mark.parametrize("kind", ["onnx-staged", "torch-export"])
def test_wrong_preprocessing_is_noticed(
    student: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    right = export_network._Preprocessing.forward
    out = tmp_path / FORMATS[kind]
    monkeypatch.setattr(
        export_network._Preprocessing, "forward", lambda self, images: right(self, images) + 0.5
    )
    code, _, err = cli("export", student, "--format", kind, "--out", out)
    assert (code, "was not kept" in err) == (1, True)
    assert not list(tmp_path.iterdir())


def test_images_too_close_to_a_threshold_are_counted(
    copy: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    bundle = load_bundle(copy)
    context = make_context("cpu", memory_format="channels_last")
    store = open_dataset(bundle.recipe.data).load("calibration")
    scores = answer_all(
        ready(bundle.model, context), store, bundle.normalisation, context, TEMPERATURES
    ).scores
    edited(copy, thresholds=[float(scores[3, 0]), "never"])
    found = json_of("export", copy, "--format", "onnx", "--out", tmp_path / "model.onnx")
    first, *others = found["verified"]["checks"]
    assert first["near_threshold"] >= 1
    assert sum(check["near_threshold"] for check in others) == 0


def test_thresholds_of_another_precision_are_not_exported(
    copy: Path, tmp_path: Path, cli: Cli
) -> None:
    edited(copy, precision="bfloat16")
    code, _, err = cli("export", copy, "--format", "onnx", "--out", tmp_path / "x")
    assert code == 2
    assert "bfloat16" in err
    assert f"erde calibrate {copy}" in err
    assert not (tmp_path / "x").exists()


def test_images_of_ones_own_where_the_bundles_are_gone(
    copy: Path, tmp_path: Path, cli: Cli, json_of: JsonOf, pixels: NDArray[np.uint8]
) -> None:
    gone = {"dataset": "imagefolder", "root": str(tmp_path / "gone")}
    edit_json(copy / "bundle.json", lambda document: document["recipe"]["data"].update(gone))
    line = ("export", copy, "--format", "onnx", "--out", tmp_path / "model.onnx")
    code, _, err = cli(*line)
    assert code == 2
    assert "--data FOLDER" in err
    assert "erde evaluate" not in err
    for number, image in enumerate(pixels[:9]):
        place = tmp_path / "own" / str(number % 2) / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place)
    verified = json_of(*line, "--data", tmp_path / "own")["verified"]
    assert (verified["images"], verified["source"]) == (9, str(tmp_path / "own"))


def test_what_is_in_the_way_stays(student: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("mine")
    for out, reason in (
        (tmp_path / "mine", "contains other files"), (tmp_path / "mine/letter.txt", "in the way"),
    ):  # fmt: skip
        code, _, err = cli("export", student, "--format", "onnx-staged", "--out", out)
        assert (code, reason in err) == (2, True), err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine/letter.txt").read_text() == "mine"


def test_without_the_extra_one_sentence_says_how_to_get_it(student: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnxscript'] = None;"  # as if it were not there
        "from erde_cli.app import main; code = main(sys.argv[1:]);"
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "export", student, "--format", "onnx", "--out", "x.onnx"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["2", "False"]
    assert "pip install 'erde-cli[onnx]'" in done.stderr
    assert "onnxscript" in done.stderr


def test_stages_that_are_not_as_they_were_are_refused(exported: Path, tmp_path: Path) -> None:
    def changed(change: Callable[[Path, dict[str, Any]], None]) -> str:
        folder = tmp_path / "stages"
        shutil.copytree(exported / "stages", folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        change(folder, manifest)
        if (folder / "manifest.json").exists():
            (folder / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(BundleError) as caught:
            open_exported(folder)
        shutil.rmtree(folder)
        return str(caught.value)

    def swap(folder: Path, manifest: dict[str, Any]) -> None:
        shutil.copy(folder / "stage0.onnx", folder / "stage1.onnx")

    assert "damaged" in changed(swap)
    assert "no stage2.onnx" in changed(lambda folder, _: (folder / "stage2.onnx").unlink())
    assert "no manifest.json" in changed(lambda folder, _: (folder / "manifest.json").unlink())
    assert "3 stages" in changed(lambda _, manifest: manifest["stages"].pop())
    assert "more: Extra" in changed(lambda _, manifest: manifest.update(more=1))
    outside = {"file": "../model.onnx", "digest": "0" * 64}
    assert "pattern" in changed(lambda _, manifest: manifest["stages"].__setitem__(0, outside))


def test_other_files_are_refused(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_text("no model")
    for path, told in (
        (tmp_path / "no.onnx", "cannot be run"),
        (tmp_path / "nowhere.onnx", "no file"),
        (exported / "stages/stage0.onnx", f"give the folder of all stages: {exported}/stages"),
    ):
        with pytest.raises(BundleError, match=told):
            open_exported(path)
    with pytest.raises(InputError, match="number of thresholds"):
        open_exported(exported / "model.onnx").answer(np.zeros((1, 8, 8, 3), np.uint8), [1.0])


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({}, "an ONNX file from elsewhere"),
        ({"author": "someone"}, "an ONNX file from elsewhere"),
        ({"erde.format": "no JSON"}, "Expecting value"),
        ({"erde.format": "3"}, "format: 1 or 2 expected"),
        ({"erde.format": "[" * 10_000}, "recursion"),
        ({"erde.format": "1", "erde.more": "1"}, "class_names: Field required"),
    ],
)
def test_a_file_that_erde_did_not_write_is_one_sentence(
    tmp_path: Path, cli: Cli, metadata: dict[str, str], told: str
) -> None:
    value = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "other", value[:1], value[1:])
    opset = onnx.helper.make_opsetid("", 18)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, tmp_path / "other.onnx")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    code, out, err = cli("predict", tmp_path / "other.onnx", tmp_path / "a.png")
    assert (code, out) == (2, "")
    lines = err.strip().splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["Error", "got", "expected", "next"]
    assert told in lines[1]
    for command in ("evaluate", "profile"):
        code, _, err = cli(command, tmp_path / "other.onnx")
        assert (code, "is not a bundle" in err) == (2, True)


def test_stages_take_any_batch(exported: Path, pixels: NDArray[np.uint8]) -> None:
    network = open_exported(exported / "stages")
    whole = network.answer(pixels)
    for count in (1, 2, 7):
        part = network.answer(pixels[:count])
        assert part.exits.tolist() == whole.exits[:count].tolist()
        assert part.probabilities == pytest.approx(whole.probabilities[:count], abs=1e-6)


def test_the_program_of_torch_takes_any_batch(
    student: Path, exported: Path, pixels: NDArray[np.uint8]
) -> None:
    program = torch.export.load(exported / "model.pt2").module()
    bundle = load_bundle(student)
    context = make_context("cpu")
    store = open_dataset(bundle.recipe.data).load("test")
    expected = answer_all(
        bundle.model, store, bundle.normalisation, context, keep_logits=True
    ).logits
    assert expected is not None
    for count in (1, 5, 60):
        logits = program(torch.from_numpy(pixels[:count])).detach().numpy()
        assert logits == pytest.approx(expected[:count], abs=1e-4)


def test_the_examples_of_the_page_run(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli,
    pixels: NDArray[np.uint8],
) -> None:  # fmt: skip
    page = (ROOT / "docs/export.md").read_text()
    monkeypatch.syspath_prepend(str(ROOT / "docs/examples"))
    shutil.copytree(finished_run, tmp_path / "runs/digits")
    (tmp_path / "photos").mkdir()
    photo = Image.fromarray(pixels[0]).resize((19, 13))
    photo.putalpha(Image.linear_gradient("L").resize((19, 13)))
    held = Image.Exif()
    held[ExifTags.Base.Orientation] = 6
    photo.save(tmp_path / "photos/a.png", exif=held)
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^\$ erde (export [^#|\n]*)", page, re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        code, out, err = cli(*shlex.split(line))
        assert (code, bool(out)) == (0, True), (line, err)
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 5
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/export.md", "exec"), names)  # noqa: S102
    erde = next(pixels_of("photos/a.png", 8, 1)).numpy()
    assert np.array_equal(names["image"], erde)
    batch = np.concatenate([pixels, names["image"]])
    expected = load_bundle("runs/digits/student").predict(batch)
    labels, exits = names["classify"](batch)
    assert labels.tolist() == [one.label for one in expected]
    assert exits.tolist() == [one.exit for one in expected]
    assert names["logits"].shape == (5, 3, 10)


def test_thresholds_can_be_set_in_the_bytes_from_javascript(exported: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    examples = ROOT / "docs/examples/early-exit.mjs"
    script = (
        f"import {{ withThresholds }} from {json.dumps(examples.as_uri())};"
        "import { readFileSync, writeFileSync } from 'node:fs';"
        "const [from, to] = process.argv.slice(2);"
        "writeFileSync(to, withThresholds(readFileSync(from), [0.25, Infinity]));"
    )
    (tmp_path / "set.mjs").write_text(script)
    changed = tmp_path / "changed.onnx"
    line = [node, str(tmp_path / "set.mjs"), str(exported / "model.onnx"), str(changed)]
    subprocess.run(line, check=True)
    model, before = onnx.load(changed), onnx.load(exported / "model.onnx")
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    assert numpy_helper.to_array(tensors["thresholds"]).tolist() == [0.25, np.inf]
    for one in (model, before):
        tensor = next(t for t in one.graph.initializer if t.name == "thresholds")
        tensor.ClearField("raw_data")
    assert model == before
