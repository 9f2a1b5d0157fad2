"""A student that sees smaller images than its teacher, through the real command line."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from erde_cli.app import main
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.calibration.halves import tuning_half
from erde_cli.core.comparison.rivals import static_rivals
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.device import make_context
from erde_cli.core.inference.answers import answer_all
from erde_cli.core.inference.entropy_gap import entropy_gaps
from erde_cli.core.measurement.training_speed import Candidate
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.profile import profile_model
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.workflows.kept import Networks, kept_phases
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.planned_training import PlanMeasurements
from erde_cli.core.workflows.prepared import prepare
from erde_cli.core.workflows.tune_worker import _random_batch, request, training

from ..conftest import Cli, JsonOf

pytestmark = pytest.mark.usefixtures("short_timings")
TEACHER, STUDENT = 16, 12  # sides of the images
RECIPE = """\
seed: 3
data: {dataset: digits, image_size: 16, augmentation: {crop: 2}}
teacher: {depth: 8, width: 4, exits: 3, head: gap}
student: {depth: 8, width: 2, exits: 3, head: gap, image_size: 12}
training:
  teacher: {epochs: 2, batch_size: 32, learning_rate: 0.2, precision: float32}
  student: {epochs: 1, batch_size: 32, learning_rate: 0.2, precision: float32}
calibration: {max_macs: 0.7}
"""
NO_SIZE = ("--set", "student.image_size=null")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sizes") / "sizes.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def run(recipe: Path) -> Path:
    """A whole run; read only."""
    folder = recipe.parent / "run"
    assert main(["run", str(recipe), "--out", str(folder), "--quiet"]) == 0
    return folder


def macs_of(recipe: Path, role: str, side: int) -> int:
    """Full MACs of a recipe's network by arithmetic on its own."""
    network = load_recipe(str(recipe)).network_of(role)  # type: ignore[arg-type]
    return profile_model(build_model(resolve_architecture(network, 10, side)), side).full_macs


def test_every_network_is_counted_and_evaluated_at_its_own_size(
    run: Path, recipe: Path, json_of: JsonOf
) -> None:
    report: dict[str, Any] = json.loads((run / "report.json").read_text())
    for role, side in (("teacher", TEACHER), ("student", STUDENT)):
        assert load_bundle(run / role).image_size == side
        assert report[role]["full_macs"] == macs_of(recipe, role, side)
        assert json_of("profile", run / role)["input_shape"] == [3, side, side]
    assert report["student"]["full_macs"] < 0.6 * report["teacher"]["full_macs"]
    alone = {role: json_of("evaluate", run / role) for role in ("teacher", "student")}
    for role, found in alone.items():
        assert found["exits"][-1] == report[role]["exits"][-1]
        assert found["accuracy"] == report[role]["accuracy"]
    # With the teacher next to it, on the same images at the teacher's size
    assert alone["student"]["entropy_gaps"] == report["student"]["entropy_gaps"]
    given = json_of("evaluate", run / "student", "--teacher", run / "teacher")
    assert given["entropy_gaps"] == report["student"]["entropy_gaps"] is not None


def test_files_are_seen_as_the_evaluation_sees_them(
    run: Path, digit_files: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    """From the original files at once at the student's size: predict, evaluate, export."""
    bundle = load_bundle(run / "student")
    store = open_dataset(bundle.recipe.data).at(STUDENT).load("test")
    scale, shift = bundle.normalisation.scale_and_shift()
    images = (store.part(0, len(store)).float() * scale - shift).permute(0, 3, 1, 2)
    routed = bundle.route(images)
    labels = routed.logits.argmax(dim=-1).tolist()
    export = tmp_path / "student.onnx"
    json_of("export", run / "student", "--format", "onnx", "--out", export)
    for model in (run / "student", export):
        rows = json_of("predict", model, digit_files)["images"]
        same = np.array([row["label"] for row in rows]) == labels
        same &= np.array([row["exit"] for row in rows]) == routed.exit.numpy()
        # Two runtimes: a score can be too close to θ
        assert same.all() if model == run / "student" else same.mean() > 0.98
    found = json_of("evaluate", run / "student")
    assert found["accuracy"] == float((np.array(labels) == store.labels.numpy()).mean())


@pytest.mark.parametrize("method", ["erde", "cross_entropy"])
def test_students_of_all_methods_see_copies_of_the_same_views(recipe: Path, method: str) -> None:
    batches = []
    for change in ("student.image_size=null", f"distillation.method={method}"):
        wanted = load_recipe(str(recipe), [change])
        dataset = open_dataset(wanted.data)
        train = dataset.load("train")
        made = prepare(wanted, "student", dataset, train, make_context("cpu", "float32", 1))
        batches.append(next(made.batches.epoch(2)))
        assert made.normalisation == dataset.normalisation
    views, copies = batches
    assert copies.images.shape[2:] == (STUDENT, STUDENT)
    assert copies.whole is not None
    assert torch.equal(copies.whole(), views.images)
    assert torch.equal(copies.labels, views.labels)


def test_the_log_of_an_epoch_has_every_answer_at_the_size_of_its_network(run: Path) -> None:
    lines = (run / "logs/student/metrics.jsonl").read_text().splitlines()
    row, context = json.loads(lines[-1]), make_context("cpu", "float32", 1)
    answers = []
    for role in ("teacher", "student"):
        bundle = load_bundle(run / role)
        dataset = open_dataset(bundle.recipe.data).at(bundle.image_size)
        store = dataset.load("calibration")
        store = store.only(tuning_half(len(store), dataset.fingerprint))
        answers.append(answer_all(bundle.model, store, bundle.normalisation, context))
    teacher, student = answers
    assert row["accuracy_calibration"] == student.accuracy
    gaps = entropy_gaps(student.entropies, student.correct, teacher.correct)
    assert row["entropy_teacher_wrong"] == pytest.approx([gap.wrong for gap in gaps], rel=1e-5)
    assert row["entropy_teacher_right"] == pytest.approx([gap.right for gap in gaps], rel=1e-5)


def test_the_sizes_are_shown_where_they_differ(
    run: Path, recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    code, out, err = cli("run", recipe, "--out", run)
    assert code == 0, err
    assert err.count("nothing has changed, kept") == 4
    assert "One image of 3x12x12" in out
    assert re.search(r"image, pixels +│ +16 x 16 │ +12 x 12", out)
    _, out, _ = cli("plan", recipe, "--out", run)
    assert "Networks (teacher 16 x 16 pixels, student 12 x 12 pixels)" in out
    _, out, _ = cli("plan", recipe, "--out", tmp_path, *NO_SIZE)
    assert "Networks" in out
    assert "pixels" not in out


def test_another_size_trains_the_student_alone_again(
    run: Path, recipe: Path, json_of: JsonOf
) -> None:
    plan = json_of("plan", recipe, "--out", run)
    assert plan["kept"] == ["teacher", "student", "calibration", "evaluation"]
    for role, side in (("teacher", TEACHER), ("student", STUDENT)):
        assert plan[role]["profile"]["exits"][-1]["cumulative_macs"] == macs_of(recipe, role, side)
    wanted = load_recipe(str(recipe))
    networks = Networks(wanted, run, open_dataset(wanted.data))
    measurements = PlanMeasurements(networks, Options("cpu", 1), [])
    for role, side in (("teacher", TEACHER), ("student", STUDENT)):  # the images that are timed
        assert measurements._calibration(role).images.shape[1:] == (side, side, 3)  # type: ignore[arg-type]
    for size in ("null", "10"):
        other = load_recipe(str(recipe), [f"student.image_size={size}"])
        assert kept_phases(Networks(other, run, open_dataset(other.data))) == ["teacher"]


def test_the_size_of_the_teacher_is_a_size_as_good_as_none(
    run: Path, recipe: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    weights = []
    for number, change in enumerate((NO_SIZE, ("--set", f"student.image_size={TEACHER}"))):
        out = tmp_path / str(number)
        json_of("distill", recipe, "--teacher", run / "teacher", "--out", out, *change)
        weights.append((out / "student/model.safetensors").read_bytes())
    assert weights[0] == weights[1] != (run / "student/model.safetensors").read_bytes()


def test_students_of_all_sizes_share_the_teachers_logits(
    run: Path, recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "cache"))
    messages = []
    for number, change in enumerate(((), NO_SIZE)):
        code, _, err = cli(
            "distill", recipe, "--teacher", run / "teacher", "--out", tmp_path / str(number),
            "--set", "distillation.teacher_cache.views=1", *change,
        )  # fmt: skip
        assert code == 0, err
        messages.append(" ".join(err.split()))
    assert "10 classes; 12 x 12 pixels, shrunk from 16 x 16; cpu, float32" in messages[0]
    assert "10 classes; cpu, float32" in messages[1]
    assert "all there" in messages[1]
    assert len([*(tmp_path / "cache/teacher").iterdir()]) == 1


def test_a_comparison_answers_with_every_network_at_its_own_size(
    run: Path, recipe: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    found = json_of(
        "compare", recipe, "--teacher", run / "teacher", "--seeds", 1, "--methods", "erde,static",
        "--out", tmp_path / "compare",
    )  # fmt: skip
    assert found["failed"] == []
    [folder] = (tmp_path / "compare").glob("seed-*")
    bundles = {path.parent.name: load_bundle(path) for path in folder.glob("*/student")}
    assert len(bundles) >= 2
    assert {bundle.image_size for bundle in bundles.values()} == {STUDENT}
    full = bundles["erde"].profile.full_macs
    for name in bundles.keys() - {"erde"}:
        assert name == f"static-{100 * bundles[name].profile.full_macs / full:.0f}"
    for rows in (found["teachers"], found["students"]):
        alone = json_of("evaluate", rows[0]["bundle"])
        accuracies = [row["accuracy"] for row in alone["exits"]]
        assert [row["accuracy"] for row in rows[0]["exits"]] == pytest.approx(accuracies)


def test_static_rivals_are_sized_at_the_size_of_the_student() -> None:
    """With many classes the last layer counts the more, the smaller the images are."""
    found = {}
    for size in (32, 16):
        wanted = load_recipe("digits", ["data.image_size=32", f"student.image_size={size}"])
        found[size] = [rival.name for rival in static_rivals(wanted, 1000)]
        alone = load_recipe("digits", [f"data.image_size={size}"])
        assert found[size] == [rival.name for rival in static_rivals(alone, 1000)]
    assert found[32] != found[16]


def test_tuning_trains_every_network_at_its_size(recipe: Path) -> None:
    wanted, context = load_recipe(str(recipe)), make_context("cpu", "float32", 1)
    view = _random_batch(wanted, "teacher", 4, 10, context)
    copy = _random_batch(wanted, "student", 4, 10, context)
    assert view.whole is None
    assert copy.whole is not None
    assert copy.images.shape == (4, 3, STUDENT, STUDENT)
    assert copy.whole().shape == view.images.shape == (4, 3, TEACHER, TEACHER)
    candidate = Candidate("float32", "channels_last", 1)
    assert training(request(wanted, "student", "cpu", 10, candidate))(1) > 0


def test_a_folder_is_decoded_at_both_sizes(
    folder_recipe: Path, folder: Path, tmp_path: Path, cli: Cli, json_of: JsonOf
) -> None:
    out = tmp_path / "run"
    sizes = ("--set", "data.image_size=12", "--set", "student.image_size=8")
    code, _, err = cli("run", folder_recipe, "--out", out, *sizes)
    assert code == 0, err
    report = json.loads((out / "report.json").read_text())
    found = json_of("evaluate", out / "student", "--data", folder)
    assert found["accuracy"] == report["student"]["accuracy"]
    assert found["entropy_gaps"] == report["student"]["entropy_gaps"] is not None
    json_of("calibrate", out / "student", "--data", folder / "test", "--max-drop", 2)
    found = json_of("profile", out / "student", "--latency", "--repeats", 3, "--batch", 1)
    assert found["input_shape"] == [3, 8, 8]
    assert found["latency"]["batches"][0]["images"] > 0
