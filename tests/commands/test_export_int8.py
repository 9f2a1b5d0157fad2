"""`erde export --int8` through the real command line: quantised, calibrated again, measured."""

import contextlib
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from PIL import Image

from erde_cli.app import main
from erde_cli.commands.views.export_int8 import figures_table
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.calibration.document import TargetDocument
from erde_cli.core.calibration.estimate import calibrate
from erde_cli.core.calibration.halves import halves
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.store import ImageStore
from erde_cli.core.export import onnx_int8
from erde_cli.core.export.onnx_graph import operators
from erde_cli.core.export.onnx_runtime import open_exported
from erde_cli.core.export.onnx_single import write_int8_file
from erde_cli.core.export.operators import BRANCHES, DECISION, INT8, NETWORK, PREPROCESSING
from erde_cli.core.export.record import read_manifest
from erde_cli.core.inference.answers import Answers
from erde_cli.core.inference.observations import Observations
from erde_cli.core.inference.routing import first_exit
from erde_cli.core.models.profile import profile_model
from erde_cli.core.thresholds.target import Risk
from erde_cli.core.thresholds.targets import MaxDrop, MaxMacs, MaxRisk
from erde_cli.core.workflows import export_int8
from erde_cli.core.workflows.calibration_images import observations_of
from erde_cli.core.workflows.export_int8_cost import Int8Cost, UnderThresholds
from erde_cli.core.workflows.export_int8_images import Int8Images

from ..conftest import Cli, JsonOf

FIGURES = {
    "thresholds", "exit_accuracy", "exit_agreement", "accuracy", "balanced_accuracy", "agreement",
    "exit_rates", "expected_macs",
}  # fmt: skip
TIMES = {"median_ms", "p5_ms", "p95_ms", "mean_ms", "calls"}


class Exported:
    """A calibrated bundle, its int8 stages, and what the command said and read."""

    def __init__(self, student: Path) -> None:
        self.student, self.folder = student, student.parent / "int8"
        self.splits: list[str] = []
        self.ranges: list[NDArray[Any]] = []

    def run(self) -> None:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            line = ["export", str(self.student), "--format", "onnx-staged", "--int8", "--json"]
            assert main([*line, "--out", str(self.folder), "-q"]) == 0
        self.json: dict[str, Any] = json.loads(out.getvalue())

    @property
    def graphs(self) -> list[onnx.GraphProto]:
        return [onnx.load(self.folder / f"stage{i}.onnx").graph for i in range(3)]


@pytest.fixture(scope="module")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Exported once; which splits and which images for ranges were read is written down."""
    student = tmp_path_factory.mktemp("int8") / "student"
    shutil.copytree(finished_run / "student", student)
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["calibrate", str(student), "--max-macs", "0.7", "--temperature", "-q"]) == 0
    found = Exported(student)
    load, quantise = Dataset.load, onnx_int8.quantise_stages

    def noted_load(self: Dataset, split: Any, *rest: Any) -> ImageStore:
        found.splits.append(split)
        return load(self, split, *rest)

    def noted(folder: Path, files: Any, batches: Any, *rest: Any) -> None:
        found.ranges = list(batches())
        quantise(folder, files, batches, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "load", noted_load)
        patch.setattr(export_int8, "quantise_stages", noted)
        found.run()
    return found


@pytest.fixture(scope="module")
def store(exported: Exported) -> ImageStore:
    return open_dataset(load_bundle(exported.student).recipe.data).load("calibration")


@pytest.fixture(scope="module")
def every_exit(exported: Exported, store: ImageStore) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores and labels [images, exits] of the int8 stages, run here one after the other."""
    inputs, scores, labels = store.part(0, len(store)).numpy(), [], []
    for index in range(3):
        session = onnxruntime.InferenceSession(exported.folder / f"stage{index}.onnx")
        given = {session.get_inputs()[0].name: inputs}
        _, label, score, *features = session.run(None, given)
        scores.append(score.astype(np.float64))
        labels.append(label)
        inputs = features[0] if features else None
    return np.stack(scores, 1), np.stack(labels, 1)


def test_weights_are_int8_and_what_decides_is_not(exported: Exported) -> None:
    bundle = load_bundle(exported.student)
    layers = 0
    for graph in exported.graphs:
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        maker = {name: node for node in graph.node for name in node.output}
        for node in graph.node:
            if node.op_type not in ("Conv", "Gemm"):
                continue
            layers += 1
            weights = maker[node.input[1]]
            assert weights.op_type == "DequantizeLinear"
            assert tensors[weights.input[0]].data_type == TensorProto.INT8
            values = numpy_helper.to_array(tensors[weights.input[0]])
            assert np.abs(values.astype(int)).max() <= 64  # 7 bits: no sum of two overflows
            scales = numpy_helper.to_array(tensors[weights.input[1]])
            assert scales.shape == (values.shape[0],)  # one for each output channel
            assert maker[node.input[0]].op_type == "DequantizeLinear"
        quantised = {name for node in graph.node if "Linear" in node.op_type for name in node.input}
        for node in graph.node:
            if node.op_type in ("Gemm", "Softmax", "LogSoftmax", "ReduceSum", "Neg"):
                assert not quantised & set(node.output), node.op_type
        assert not [t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT
                    and len(t.dims) > 1]  # fmt: skip
        assert "/" not in "".join(node.doc_string for node in graph.node) + graph.doc_string
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    assert layers == sum(isinstance(module, kinds) for module in bundle.model.modules())


def test_the_files_are_small_and_the_manifest_says_int8(exported: Exported) -> None:
    manifest = read_manifest(exported.folder)
    half = exported.json["quantised"]["range_images"]
    assert manifest.quantisation is not None
    assert manifest.quantisation.model_dump() == {
        "weights": "int8", "activations": "uint8", "operators": ["Conv", "Gemm"],
        "range_images": half,
    }  # fmt: skip
    assert "onnxruntime" in manifest.network.versions
    assert sorted(path.name for path in exported.folder.iterdir()) == [
        "manifest.json", "stage0.onnx", "stage1.onnx", "stage2.onnx"
    ]  # fmt: skip
    sizes = sum(path.stat().st_size for path in exported.folder.glob("*.onnx"))
    assert exported.json["quantised"]["int8"]["bytes"] == sizes


def test_thresholds_are_chosen_again_on_the_quantised_scores(
    exported: Exported, store: ImageStore, every_exit: tuple[NDArray[Any], NDArray[Any]]
) -> None:
    before = json.loads((exported.student / "thresholds.json").read_text())
    after = json.loads((exported.folder / "manifest.json").read_text())["network"]["calibration"]
    scores, labels = every_exit
    bundle = load_bundle(exported.student)
    macs = np.array(profile_model(bundle.model, bundle.image_size).cumulative_macs, dtype=float)
    correct = labels == store.labels.numpy()[:, None]
    agrees = labels == labels[:, -1:]
    fresh = calibrate(Observations(scores, correct, macs, agrees), MaxMacs(0.7))
    written = ["always" if one == np.inf else one or "never" for one in fresh.thresholds]
    assert after["thresholds"] == pytest.approx(written, rel=1e-4)
    assert after["thresholds"] == exported.json["thresholds"] != before["thresholds"]
    assert after["target"] == before["target"]
    assert after["temperatures"] == before["temperatures"] is not None
    assert (after["certified"], after["certificate"]) == (False, None)
    assert after["accuracy"] == pytest.approx(fresh.chosen.accuracy)
    assert after["held_out"]["accuracy"] == pytest.approx(fresh.held_out.accuracy)
    assert after["exit_accuracy"] == pytest.approx(correct.mean(axis=0).tolist())
    assert after["split_fingerprint"] == before["split_fingerprint"]


@pytest.mark.parametrize("risk", ["disagreement", "accuracy-gap"])
def test_a_promise_becomes_an_estimate_of_the_same_risk(
    exported: Exported,
    store: ImageStore,
    every_exit: tuple[NDArray[Any], NDArray[Any]],
    risk: Risk,
) -> None:
    scores, labels = every_exit
    agrees = labels == labels[:, -1:]
    macs = np.array([1.0, 2.0, 3.0])
    seen = Observations(scores, labels == store.labels.numpy()[:, None], macs, agrees)
    disagreement = calibrate(replace(seen, correct=agrees, labelled=False), MaxDrop(30))
    gap = calibrate(seen, MaxDrop(30))
    assert disagreement.thresholds != gap.thresholds
    promised = TargetDocument.of(MaxRisk(0.3, risk=risk, confidence=0.9))
    bundle = load_bundle(exported.student)
    before = bundle.require_thresholds().model_copy(update={"target": promised})
    half_a, half_b = halves(len(store), bundle.document.split_fingerprint)
    images = Int8Images(store, "calibration split", "0" * 64, half_a, half_b)
    after = export_int8.recalibrated(before, seen, images)
    expected = disagreement if risk == "disagreement" else gap
    assert tuple(after.values) == expected.thresholds
    assert after.target.model_dump() == promised.model_dump(exclude={"confidence"})
    assert (after.certified, after.certificate) == (False, None)


def test_thresholds_by_balanced_accuracy_are_chosen_again_by_it(
    exported: Exported, store: ImageStore, every_exit: tuple[NDArray[Any], NDArray[Any]]
) -> None:
    """On images of which one class has few."""
    labels = store.labels.numpy()
    kept = np.flatnonzero((labels != 3) | (np.arange(len(labels)) % 5 == 0))
    few, (scores, said) = store.only(kept), (one[kept] for one in every_exit)
    macs, half_b = np.array([1.0, 2.0, 3.0]), np.arange(10)
    images = Int8Images(few, "labelled folder", "0" * 64, np.arange(10), half_b)
    correct = said == labels[kept][:, None]
    answers = Answers(correct, scores, said, None)
    seen = observations_of(answers, macs, images.labels, "balanced_accuracy")
    assert observations_of(answers, macs, images.labels, "accuracy").classes is None
    bundle = load_bundle(exported.student)
    target = MaxDrop(8, metric="balanced_accuracy")
    asked = {"target": TargetDocument.of(target)}
    before = bundle.require_thresholds().model_copy(update=asked)
    after = export_int8.recalibrated(before, seen, images)
    fresh = calibrate(replace(seen, classes=labels[kept]), target)
    assert tuple(after.values) == fresh.thresholds
    assert (after.metric, after.met) == ("balanced_accuracy", fresh.met)
    assert after.target.metric == "balanced_accuracy"
    assert after.balanced_accuracy == fresh.chosen.balanced_accuracy != after.accuracy
    assert after.held_out.balanced_accuracy == fresh.held_out.balanced_accuracy
    under = UnderThresholds.of(seen, after.values)
    assert under.to_json()["balanced_accuracy"] == after.balanced_accuracy
    cost = SimpleNamespace(
        images=images, after=after, sizes=(1, 1), held_out=(None, after.held_out),
        float32=under, kept=under, int8=under,
    )  # fmt: skip
    table = figures_table(cast(Int8Cost, cost))
    names = list(table.columns[0].cells)
    assert {"balanced accuracy under θ %", "balanced accuracy, held out %"} <= set(names)


def test_the_runner_leaves_where_the_scores_say(
    exported: Exported, store: ImageStore, every_exit: tuple[NDArray[Any], NDArray[Any]]
) -> None:
    network = open_exported(exported.folder)
    found = network.answer(store.part(0, len(store)).numpy())
    scores, labels = every_exit
    exits = first_exit(torch.from_numpy(scores), network.record.thresholds).numpy()
    assert found.exits.tolist() == exits.tolist()
    assert found.labels.tolist() == labels[np.arange(len(exits)), exits].tolist()
    rates = np.bincount(exits, minlength=3) / len(exits)
    assert exported.json["quantised"]["int8"]["exit_rates"] == pytest.approx(rates.tolist())
    assert sum(rate > 0 for rate in rates) > 1
    checks = exported.json["quantised"]["checks"]
    assert [check["exits"] for check in checks[1:]] == [
        [len(store) if exit_ == taken else 0 for exit_ in range(3)] for taken in range(3)
    ]


def test_only_half_a_measures_ranges_and_no_test_image_is_read(
    exported: Exported, store: ImageStore
) -> None:
    assert set(exported.splits) == {"calibration"}
    fingerprint = load_bundle(exported.student).document.split_fingerprint
    half_a, _ = halves(len(store), fingerprint)
    expected = store.only(np.sort(half_a)).part(0, len(half_a)).numpy()
    assert np.array_equal(np.concatenate(exported.ranges), expected)
    assert exported.json["quantised"]["range_images"] == len(half_a) < len(store)


def test_what_it_costs_is_told(
    exported: Exported, store: ImageStore, every_exit: tuple[NDArray[Any], NDArray[Any]]
) -> None:
    found = exported.json["quantised"]
    assert set(found) == {
        "source", "images", "range_images", "target", "met", "met_where_chosen", "certified",
        "float32", "int8", "int8_at_float_thresholds", "accuracy_drop", "accuracy_drop_interval",
        "differing_labels", "latency", "checks",
    }  # fmt: skip
    assert set(found["float32"]) == set(found["int8"]) == FIGURES | {"held_out", "bytes"}
    assert set(found["int8_at_float_thresholds"]) == FIGURES
    assert (found["source"], found["images"]) == ("calibration split", len(store))
    before = json.loads((exported.student / "thresholds.json").read_text())
    for name in ("accuracy", "agreement", "exit_rates", "thresholds", "expected_macs"):
        assert found["float32"][name] == pytest.approx(before[name]), name
    assert found["float32"]["held_out"] == before["held_out"]
    assert found["int8_at_float_thresholds"]["thresholds"] == before["thresholds"]
    drop = 100 * (found["float32"]["accuracy"] - found["int8"]["accuracy"])
    assert found["accuracy_drop"] == pytest.approx(drop)
    low, high = found["accuracy_drop_interval"]
    assert low <= drop <= high
    bundle = load_bundle(exported.student)
    pixels = store.part(0, len(store)).numpy()
    model = bundle.route(torch.from_numpy(bundle_inputs(exported, pixels)))
    network = open_exported(exported.folder)
    other = model.logits.argmax(dim=-1).numpy() != network.answer(pixels).labels
    assert found["differing_labels"]["under_thresholds"] == pytest.approx(other.mean())
    assert set(found["differing_labels"]["half_b"]) == {"exits", "under_thresholds"}


def bundle_inputs(exported: Exported, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    """Normalised images, as the bundle itself takes them."""
    record = read_manifest(exported.folder).network
    planes: NDArray[Any] = record.model_copy(update={"preprocessing": False}).inputs(pixels)
    return planes


def test_latency_stands_side_by_side(exported: Exported) -> None:
    latency = exported.json["quantised"]["latency"]
    assert latency["threads"] == 1
    assert [one["batch"] for one in latency["batches"]] == [1, 64]
    for one in latency["batches"]:
        assert [pair["exit"] for pair in one["exits"]] == [0, 1, 2]
        for pair in [*one["exits"], one["under_thresholds"]]:
            assert set(pair["float32"]) == set(pair["int8"]) == TIMES
            assert pair["ratio"] > 0
            for times in (pair["float32"], pair["int8"]):
                assert 0 < times["p5_ms"] <= times["median_ms"] <= times["p95_ms"]
        calls = one["under_thresholds"]["int8"]["calls"]
        assert calls == one["repeats"] * one["images"] / one["batch"]


def test_the_single_file_is_made_of_the_same_stages(
    exported: Exported, store: ImageStore, tmp_path: Path, json_of: JsonOf
) -> None:
    """Answers of the stages, thresholds chosen again, int8 weights inside the branches."""
    out = tmp_path / "int8.onnx"
    found = json_of("export", exported.student, "--format", "onnx", "--int8", "--out", out)
    quantised, staged = found["quantised"], exported.json["quantised"]
    assert found["thresholds"] == exported.json["thresholds"]
    same = ("target", "met", "differing_labels", "accuracy_drop", "range_images")
    assert {name: quantised[name] for name in same} == {name: staged[name] for name in same}
    for name in ("thresholds", "exits", "near_threshold"):
        checks = [[check[name] for check in one["checks"]] for one in (quantised, staged)]
        assert checks[0] == checks[1]
    assert quantised["int8"]["bytes"] == out.stat().st_size
    assert [one["batch"] for one in quantised["latency"]["batches"]] == [1]
    pixels = store.part(0, len(store)).numpy()
    one, stages = open_exported(out), open_exported(exported.folder)
    for thresholds in (None, [np.inf, 0.0], [0.0, np.inf], [0.0, 0.0]):
        answers, expected = one.answer(pixels, thresholds), stages.answer(pixels, thresholds)
        assert answers.exits.tolist() == expected.exits.tolist()
        assert answers.labels.tolist() == expected.labels.tolist()
        assert answers.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    model = onnx.load(out)
    held = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert held["erde.quantisation"]["weights"] == "int8"
    stage = onnx.load(exported.folder / "stage1.onnx")
    told = {entry.key: json.loads(entry.value) for entry in stage.metadata_props}
    vectors = [about.pop("erde.test") for about in (held, told)]  # of the file's own answers
    assert {**held, "erde.stage": 1} == told
    for vector in vectors:
        assert (vector["tolerance"], [e["exit"] for e in vector["exits"]]) == (0.05, [0, 1, 2])
    checked = json_of("export", out, "--check")
    assert max(row["difference"] for row in checked["exits"]) < 1e-4
    assert told["erde.calibration"]["thresholds"] == exported.json["thresholds"]
    assert "If" in [node.op_type for node in model.graph.node]
    own = NETWORK | PREPROCESSING | DECISION
    assert set(operators(stage.graph)) <= own | INT8 - {"Max"}
    assert INT8 - {"Max"} <= set(operators(model.graph)) <= own | INT8 | BRANCHES
    assert "Conv" in set(operators(model.graph))
    wide = [tensor for tensor in model.graph.initializer if len(tensor.dims) > 2]
    assert {tensor.data_type for tensor in wide} == {TensorProto.INT8}


def test_pooled_features_do_not_reach_a_branch_directly(exported: Exported, tmp_path: Path) -> None:
    """ONNX Runtime 1.32 aborts the process if a pooled int8 value does."""
    graphs = [onnx.GraphProto() for _ in exported.graphs]
    for graph, stage in zip(graphs, exported.graphs, strict=True):
        graph.CopyFrom(stage)
    maker = {name: node for node in graphs[0].node for name in node.output}
    node = maker["next_features"]
    if node.op_type != "MaxPool":  # a pool over one pixel changes no value
        node.output[0] = "unpooled"
        window = {"kernel_shape": [1, 1], "strides": [1, 1]}
        pool = onnx.helper.make_node("MaxPool", ["unpooled"], ["next_features"], **window)
        graphs[0].node.insert(list(graphs[0].node).index(node) + 1, pool)
    manifest = read_manifest(exported.folder)
    assert manifest.quantisation is not None
    write_int8_file(graphs, manifest.network, manifest.quantisation, tmp_path / "one.onnx")
    code = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    line = [sys.executable, "-c", code, str(tmp_path / "one.onnx")]
    subprocess.run(line, check=True, capture_output=True)
    held = [node for node in onnx.load(tmp_path / "one.onnx").graph.node if node.op_type == "Max"]
    assert [list(node.output) for node in held] == [["stage0/features"]]


def test_promises_and_labels_end_where_they_do_not_reach(
    exported: Exported, store: ImageStore, cli: Cli, tmp_path: Path
) -> None:
    """Thresholds promised on a folder without labels: an estimate of the same risk, agreement."""
    bundle, images, out = tmp_path / "student", tmp_path / "images", tmp_path / "int8"
    shutil.copytree(exported.student, bundle)
    images.mkdir()
    for number, pixels in enumerate(store.part(0, 100).numpy()):
        Image.fromarray(pixels).save(images / f"{number:03}.png")
    code, _, err = cli("calibrate", bundle, "--images", images, "--max-risk", 0.4, "-q")
    assert code == 0, err
    line = ("export", bundle, "--format", "onnx-staged", "--int8", "--out", out, "-q")
    code, _, err = cli(*line)
    assert code == 2
    assert "--data FOLDER" in err
    assert not out.exists()
    code, shown, err = cli(*line, "--data", images)
    assert code == 0, err
    assert "does not hold for its int8 stages" in " ".join(err.split())
    after = read_manifest(out).network.calibration
    assert (after.certified, after.certificate, after.accuracy) == (False, None, None)
    target = {"kind": "max_risk", "value": 0.4, "risk": "disagreement"}
    assert after.target.model_dump(include=set(target)) == target
    assert "confidence" not in after.target.model_dump()
    assert after.agreement is not None
    assert after.agreement >= 0.6
    assert "agreement of exit 1 of 3 %" in shown
    assert "accuracy" not in shown
    words = " ".join(shown.split())
    said = (
        "Before quantising, verified", "float32 and int8 on 100 images", "own θ", "not a guarantee",
        "ms per image, one thread", "The label differs from float32",
    )  # fmt: skip
    assert [text for text in said if text not in words] == []
    assert ("At batch 64 int8 is no faster here" in words) or ("At batch 64 int8 takes" in words)


@pytest.mark.parametrize("failure", ["a layer stays in float", "other thresholds in the manifest"])
def test_a_failure_leaves_what_was_there(
    exported: Exported, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    out = tmp_path / "place" / "int8"
    shutil.copytree(exported.folder, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    if failure == "a layer stays in float":
        monkeypatch.setattr(onnx_int8, "_OPERATORS", ["Conv", "Relu"])
        said = "left layers of stage0.onnx in float"
    else:
        write = export_int8.write_manifest
        old = read_manifest(exported.folder).network
        wrong = old.model_copy(
            update={"calibration": old.calibration.model_copy(update={"thresholds": [0.5, 0.5]})}
        )
        monkeypatch.setattr(
            export_int8, "write_manifest", lambda at, files, _, how: write(at, files, wrong, how)
        )
        said = "do not exit or answer as their scores require"
    code, _, err = cli(
        "export", exported.student, "--format", "onnx-staged", "--int8", "--out", out, "-q"
    )
    assert code == 1
    assert said in " ".join(err.split())
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in out.parent.iterdir()] == ["int8"]
