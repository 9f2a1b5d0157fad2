"""`erde export`: files that stop early, answer as the bundle does, and are kept only if they do."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from erde_cli import load
from erde_cli.core import export_check, extras
from erde_cli.core.bundle import Bundle
from erde_cli.core.exits import route
from erde_cli.core.export_graphs import StoppingGraph
from erde_cli.core.onnx_session import StagedFiles, StoppingFile, open_exported

from ..conftest import Cli

EXPORT_KEYS = {
    "path", "format", "preprocessing", "bytes", "images", "compared", "close",
    "largest_difference", "exit_counts",
}  # fmt: skip
NEVER, ALWAYS = 0.0, math.inf
FORCED = [[ALWAYS, ALWAYS], [NEVER, ALWAYS], [NEVER, NEVER]]


@pytest.fixture(scope="module")
def bundle(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student whose early exits are asked: thresholds in the middle of its scores."""
    from erde_cli.app import main

    copy = shutil.copytree(finished_run, tmp_path_factory.mktemp("export") / "run") / "student"
    assert main(["calibrate", str(copy), "--max-macs", "0.8", "--temperature", "-q"]) == 0
    return copy


@pytest.fixture(scope="module")
def single(bundle: Path) -> Path:
    from erde_cli.app import main

    path = bundle.parent / "one.onnx"
    assert main(["export", str(bundle), "--out", str(path), "-q"]) == 0
    return path


@pytest.fixture(scope="module")
def staged(bundle: Path) -> Path:
    from erde_cli.app import main

    path = bundle.parent / "stages"
    assert main(["export", str(bundle), "--format", "onnx-staged", "--out", str(path), "-q"]) == 0
    return path


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    generator = np.random.default_rng(5)
    return generator.integers(0, 256, (40, 8, 8, 3), np.uint8)


def routed(bundle: Bundle, images: np.ndarray, thresholds: list[float]) -> Any:
    mean, std = (torch.tensor(one) for one in bundle.normalisation.to_json().values())
    normalised = ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2)
    temperatures = bundle.require_thresholds().temperatures
    return route(bundle.model, normalised, thresholds, temperatures), temperatures


def graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)


def convolutions(graph: Any) -> int:
    return sum(node.op_type == "Conv" for node in graph.node)


def test_deeper_stages_lie_inside_the_else_branch_only(single: Path) -> None:
    outer = onnx.load(single).graph
    depth, graph = 0, outer
    while branching := [node for node in graph.node if node.op_type == "If"]:
        (node,) = branching
        branches = {attribute.name: attribute.g for attribute in node.attribute}
        assert not any(convolutions(inner) for inner in graphs(branches["then_branch"]))
        assert convolutions(branches["else_branch"]) > 0
        depth, graph = depth + 1, branches["else_branch"]
    assert depth == 2
    counts = [convolutions(one) for one in graphs(outer) if convolutions(one)]
    assert len(counts) == 3  # each stage once, at its own depth
    # Every number of the network is there once: branches hold no copies.
    floats = sum(np.prod(one.dims) for one in outer.initializer)
    parameters = sum(one.numel() for one in load(single.parent / "student").model.parameters())
    assert floats < 1.05 * parameters


def test_a_file_says_whose_it_is_and_nothing_of_the_machine(single: Path, bundle: Path) -> None:
    session = onnxruntime.InferenceSession(single)
    about = session.get_modelmeta().custom_metadata_map
    document = json.loads((bundle / "thresholds.json").read_text())
    assert json.loads(about["erde.class_names"]) == [str(n) for n in range(10)]
    assert json.loads(about["erde.calibration"]) == document
    weights = json.loads((bundle / "bundle.json").read_text())["weights_digest"]
    assert about["erde.weights_digest"] == weights
    assert set(json.loads(about["erde.versions"])) >= {"erde-cli", "torch"}
    assert (about["erde.image_size"], about["erde.preprocessing"]) == ("8", "true")
    (image,) = session.get_inputs()
    assert (image.name, image.shape, image.type) == ("image", [1, 8, 8, 3], "tensor(uint8)")
    (thresholds,) = session.get_overridable_initializers()
    assert (thresholds.name, thresholds.shape) == ("thresholds", [2])
    outputs = [(one.name, one.type) for one in session.get_outputs()]
    assert outputs == [
        ("probabilities", "tensor(float)"), ("label", "tensor(int64)"), ("exit", "tensor(int64)"),
    ]  # fmt: skip
    assert str(Path.cwd()).encode() not in single.read_bytes()
    assert b"site-packages" not in single.read_bytes()


@pytest.mark.parametrize("kind", ["single", "staged"])
@pytest.mark.parametrize("thresholds", [None, *FORCED])
def test_both_forms_answer_as_the_bundle_does(
    kind: str, thresholds: list[float] | None, single: Path, staged: Path, bundle: Path,
    images: np.ndarray,
) -> None:  # fmt: skip
    loaded = load(bundle)
    answers = open_exported({"single": single, "staged": staged}[kind], 1).run(images, thresholds)
    limits = thresholds or loaded.require_thresholds().values
    expected, temperatures = routed(loaded, images, limits)
    assert temperatures is not None
    assert any(abs(value - 1) > 0.01 for value in temperatures)
    assert answers.exits.tolist() == expected.exit.tolist()
    assert answers.labels.tolist() == expected.logits.argmax(-1).tolist()
    by_exit = torch.tensor(temperatures)[expected.exit][:, None]
    probabilities = (expected.logits / by_exit).softmax(-1).numpy()
    assert np.abs(answers.probabilities - probabilities).max() < 1e-5
    if thresholds is None:
        assert len(set(answers.exits.tolist())) > 1


def test_predict_and_the_file_say_the_same(single: Path, bundle: Path, images: np.ndarray) -> None:
    answers = StoppingFile(single, 1).run(images)
    for place, said in enumerate(load(bundle).predict(list(images))):
        assert (said.label, said.exit) == (answers.labels[place], answers.exits[place])
        assert said.confidence == pytest.approx(answers.probabilities[place, said.label], abs=1e-5)


def test_normalised_images_where_no_preprocessing_is_wanted(
    bundle: Path, single: Path, images: np.ndarray, tmp_path: Path,
    json_of: Callable[..., dict[str, Any]],
) -> None:  # fmt: skip
    path = tmp_path / "raw.onnx"
    found = json_of("export", bundle, "--no-preprocessing", "--out", path, "--threads", 1)
    assert set(found) == EXPORT_KEYS
    assert found["path"] == str(path)
    assert found["preprocessing"] is False
    assert found["bytes"] == path.stat().st_size
    assert sum(found["exit_counts"]) == found["images"] == 144
    assert found["compared"] + found["close"] == 4 * 144  # as calibrated, and every exit
    (image,) = onnxruntime.InferenceSession(path).get_inputs()
    assert (image.shape, image.type) == ([1, 3, 8, 8], "tensor(float)")
    mean, std = (np.array(v, np.float32) for v in load(bundle).normalisation.to_json().values())
    normalised = ((images / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)
    ours = open_exported(path, 1).run(np.ascontiguousarray(normalised, np.float32), FORCED[2])
    theirs = open_exported(single, 1).run(images, FORCED[2])
    assert np.abs(ours.probabilities - theirs.probabilities).max() < 1e-5


def test_the_program_of_all_exits_takes_any_batch(
    bundle: Path, images: np.ndarray, cli: Cli
) -> None:
    code, out, err = cli("export", bundle, "--format", "torch-export")
    assert code == 0, err
    assert "All logits as the bundle's on 144 images" in out
    path = bundle / "export/student.pt2"
    about = {"erde.weights_digest": ""}
    program = torch.export.load(path, extra_files=about)
    assert about["erde.weights_digest"] == load(bundle).document.weights_digest
    for count in (1, 7):
        part = images[:count]
        logits = program.module()(torch.from_numpy(part))
        expected, _ = routed(load(bundle), part, FORCED[2])
        assert torch.allclose(logits[:, -1], expected.logits, atol=1e-4)
        assert logits.shape == (count, 3, 10)


def test_what_answers_otherwise_is_not_kept(
    bundle: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network of the file, and of the file alone, is another one."""
    honest = StoppingGraph.__init__

    def broken(self: StoppingGraph, *arguments: Any) -> None:
        honest(self, *arguments)
        with torch.no_grad():
            self.heads[1][-1].bias += 1e3 * torch.arange(10)  # exit 1 always says "9"

    monkeypatch.setattr(StoppingGraph, "__init__", broken)
    path = tmp_path / "one.onnx"
    code, _, err = cli("export", bundle, "--out", path)
    assert code == 1
    assert "does not answer as the bundle does, so nothing was kept" in err
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_where_the_new_one_fails(
    bundle: Path, single: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copy(single, tmp_path / "one.onnx")
    before = Path(path).read_bytes()
    monkeypatch.setattr(export_check, "TOLERANCE", -1.0)
    code, _, err = cli("export", bundle, "--out", path)
    assert code == 1, err
    assert Path(path).read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["one.onnx"]


def test_without_thresholds_there_is_nothing_to_export(run_copy: Path, cli: Cli) -> None:
    (run_copy / "student/thresholds.json").unlink()
    code, _, err = cli("export", run_copy / "student")
    assert code == 2
    assert "erde calibrate" in err


def test_without_the_packages_one_sentence_says_how_to_get_them(
    bundle: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = extras.find_spec
    monkeypatch.setattr(
        extras, "find_spec", lambda name: None if name == "onnxruntime" else real(name)
    )
    code, _, err = cli("export", bundle)
    assert code == 2
    assert 'pip install "erde-cli[onnx]"' in err
    assert cli("export", bundle, "--format", "torch-export", "-q")[0] == 0


@pytest.mark.parametrize(
    ("name", "format_"), [("folder", "onnx"), ("file", "onnx-staged"), ("full", "onnx-staged")]
)
def test_nothing_else_is_replaced(
    name: str, format_: str, bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("mine")
    code, _, err = cli("export", bundle, "--format", format_, "--out", tmp_path / name)
    assert code == 2
    assert "is in the way" in err
    assert (tmp_path / "full/mine").read_text() == (tmp_path / "file").read_text() == "mine"


def test_images_that_moved_can_be_named(
    folder_recipe: Path, folder: Path, tmp_path: Path, cli: Cli
) -> None:
    run = tmp_path / "run"
    assert cli("run", folder_recipe, "--out", run, "-q")[0] == 0
    elsewhere = folder.rename(tmp_path / "elsewhere")
    code, _, err = cli("export", run / "student", "--format", "torch-export", "-q")
    assert code == 2, err
    assert "--images FOLDER" in err
    arguments = ("--format", "torch-export", "--images", elsewhere / "test", "-q")
    code, out, err = cli("export", run / "student", *arguments)
    assert code == 0, err
    assert "on 12 images" in out


def test_damaged_stages_are_named(staged: Path, tmp_path: Path) -> None:
    from erde_cli.core.errors import BundleError

    copy = shutil.copytree(staged, tmp_path / "stages")
    content = bytearray((copy / "stage-1.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "stage-1.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"stage-1\.onnx"):
        open_exported(copy)
    document = json.loads((staged / "manifest.json").read_text())
    document["stages"][0]["file"] = "../one.onnx"
    (copy / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="not what erde export writes"):
        open_exported(copy)
    (copy / "other.onnx").write_bytes(b"no network")
    with pytest.raises(BundleError, match="not what erde export writes"):
        open_exported(copy / "other.onnx")
    with pytest.raises(BundleError, match="no exported network"):
        open_exported(copy / "missing.onnx")
    assert StagedFiles(staged).manifest.image_size == 8


def test_images_at_a_threshold_are_counted_and_not_compared(staged: Path, bundle: Path) -> None:
    loaded = load(bundle)
    store = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3), np.uint8)
    logits = torch.stack([routed(loaded, store, limits)[0].logits for limits in FORCED], dim=1)
    temperatures = loaded.require_thresholds().temperatures
    reference = export_check.Reference(logits, tuple(temperatures or ()))
    score = reference.scores()[0, 0].item()
    found = export_check.check(_Carrying(staged, [score, 0.0]), store, reference, [score, 0.0])
    assert found.close >= 1
    assert found.compared == 4 * 6 - found.close


class _Carrying:
    """Stages with other thresholds than their own."""

    def __init__(self, path: Path, thresholds: list[float]) -> None:
        self._stages, self.thresholds = StagedFiles(path, 1), thresholds
        self.weights_digest = self._stages.weights_digest

    def run(self, images: np.ndarray, thresholds: Any = None) -> Any:
        return self._stages.run(images, self.thresholds if thresholds is None else thresholds)
