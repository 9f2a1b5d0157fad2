"""`erde plan`: what a run will do, known before it does it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from erde_cli.core.data.opening import open_dataset
from erde_cli.core.events import Observer
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.workflows import planned_training
from erde_cli.core.workflows.journal import Journal
from erde_cli.core.workflows.kept import Networks
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.plan import plan_run
from erde_cli.core.workflows.run import _show_remaining, run_recipe

from ..conftest import Cli, JsonOf
from ..faults.runs import files_of

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("short_timings")


@pytest.fixture(scope="module")
def profile(finished_run: Path) -> dict[str, Any]:
    from erde_cli.core.bundle.bundle import load_bundle
    from erde_cli.core.models.profile import profile_model

    found = {}
    for role in ("teacher", "student"):
        bundle = load_bundle(finished_run / role)
        found[role] = profile_model(bundle.model, bundle.image_size).to_json(None)
    return found


def test_a_plan_says_what_the_run_then_does(
    tiny_recipe: Path, finished_run: Path, profile: dict[str, Any], json_of: JsonOf, tmp_path: Path
) -> None:
    found = json_of("plan", tiny_recipe, "--out", tmp_path / "run")
    report = json.loads((finished_run / "report.json").read_text())
    assert found["data"] == report["data"]
    for role, epochs in (("teacher", 4), ("student", 3)):
        assert found[role]["profile"] == profile[role]
        assert found[role]["epochs"] == found[role]["epochs_left"] == epochs
        assert found[role]["steps_per_epoch"] == 1294 // 64
        timings = (finished_run / f"logs/{role}/timings.jsonl").read_text().splitlines()
        assert len(timings) == epochs
        assert found[role]["seconds"] > epochs * found[role]["seconds_per_epoch"] > 0
    assert found["kept"] == []
    assert set(found["seconds_of_phases"]) == set(report["seconds"])
    assert 0 < found["seconds"] - sum(found["seconds_of_phases"].values()) < 10  # the start
    assert found["memory_bytes"] > 1e7
    held = sum(path.stat().st_size for path in finished_run.rglob("*") if path.is_file())
    assert held < found["disk_bytes"] < 10 * held
    assert not (tmp_path / "run").exists()


def test_a_plan_of_a_finished_run_keeps_everything(
    tiny_recipe: Path, run_copy: Path, json_of: JsonOf
) -> None:
    before = files_of(run_copy)
    found = json_of("plan", tiny_recipe, "--out", run_copy)
    assert found["kept"] == ["teacher", "student", "calibration", "evaluation"]
    assert found["seconds"] == 0
    assert files_of(run_copy) == before


def test_a_changed_target_leaves_the_networks(
    tiny_recipe: Path, run_copy: Path, cli: Cli, json_of: JsonOf
) -> None:
    line = ("plan", tiny_recipe, "--out", run_copy, "--set", "calibration.max_macs=0.7")
    code, _, err = cli(*line)
    assert code == 2  # the run would be refused, and so is its plan
    assert "--force" in err
    (run_copy / "student/thresholds.json").unlink()
    found = json_of("plan", tiny_recipe, "--out", run_copy)
    assert found["kept"] == ["teacher", "student"]
    assert found["seconds_of_phases"]["calibration"] > 0
    assert found["seconds_of_phases"]["student"] == 0
    _, out, _ = cli("plan", tiny_recipe, "--out", run_copy)
    assert out.count("kept: nothing has changed") == 2


class _Seen(Observer):
    """Keeps what is told of the time that is left."""

    shows_progress = True

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.left: list[float] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def ahead(self, seconds: float) -> None:
        self.left.append(seconds)


def test_a_run_begins_with_its_plan_which_changes_no_byte_of_it(
    tiny_recipe: Path, finished_run: Path, tmp_path: Path
) -> None:
    """Steps that are timed draw from no generator that a training draws from."""
    seen = _Seen()
    run_recipe(load_recipe(str(tiny_recipe)), tmp_path / "run", Options("cpu", 1, seen))
    assert [note for note in seen.notes if note.startswith("Plan: about ")] == seen.notes[:1]
    assert "teacher 4 epochs of" in seen.notes[0]
    assert "student 3 epochs of" in seen.notes[0]
    assert len(seen.left) == 2  # before the teacher and before the student
    assert min(seen.left) > 0
    for role in ("teacher", "student"):
        planned, plain = (
            (run / role / "model.safetensors").read_bytes()
            for run in (tmp_path / "run", finished_run)
        )
        assert planned == plain


def test_what_is_ahead_grows_where_the_machine_is_slower_than_planned(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, options = _Seen(), Options("cpu", 1)
    recipe = load_recipe(str(tiny_recipe))
    networks = Networks(recipe, tmp_path / "run", open_dataset(recipe.data))
    plan = plan_run(networks, options)
    journal = Journal(tmp_path / "run", recipe)
    journal.seconds["teacher"] = 3 * plan.seconds["teacher"]
    for phase in ("teacher", "student"):
        _show_remaining(plan, phase, journal, replace(options, observer=seen))
    assert seen.left == pytest.approx([plan.after("teacher"), 3 * plan.after("student")])


@pytest.mark.parametrize(("views", "step"), [("null", 1.0), (1, 0.75), (2, 1.0), (9, 1.0)])
def test_a_teacher_whose_logits_are_kept_is_asked_in_some_epochs_only(
    views: object, step: float, tiny_recipe: Path, json_of: JsonOf, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, seconds in (("step", 1.0), ("answer", 0.0)):
        monkeypatch.setattr(planned_training, f"seconds_per_{name}", lambda *_, s=seconds: s)
    monkeypatch.setattr(planned_training, "seconds_per_run", lambda *_: 0.5)
    changes = ("training.student.epochs=2", f"distillation.teacher_cache.views={views}")
    sets = [part for text in changes for part in ("--set", text)]
    found = json_of("plan", tiny_recipe, "--out", tmp_path / "run", *sets)
    expected = 20 * step + planned_training._EPOCH
    assert found["student"]["seconds_per_epoch"] == pytest.approx(expected)


def test_nothing_is_compiled_for_a_plan(
    tiny_recipe: Path, json_of: JsonOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    line = ("plan", tiny_recipe, "--out", tmp_path / "run")
    json_of(*line, "--set", "training.student.compile=true")


def test_nothing_is_timed_where_nobody_looks_or_nothing_is_trained(
    tiny_recipe: Path, run_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(made: object) -> float:
        raise AssertionError("timed")

    monkeypatch.setattr(planned_training, "seconds_per_step", fail)
    recipe = load_recipe(str(tiny_recipe))
    run_recipe(recipe, run_copy, Options("cpu", 1, _Seen()))
    run_recipe(recipe, tmp_path / "run", Options("cpu", 1))


def test_a_stopped_training_has_fewer_epochs_left(
    tiny_recipe: Path, tmp_path: Path, json_of: JsonOf, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from erde_cli.core.errors import StoppedError
    from erde_cli.core.training.epochs import TrainingRecorder

    original = TrainingRecorder.add

    def stop(self: TrainingRecorder, record: Any, state: Any) -> None:
        original(self, record, state)
        if state.epoch == 3:
            raise StoppedError("stopped", hint="", signal=2)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRecorder, "add", stop)
        assert cli("run", tiny_recipe, "--out", tmp_path / "run", "--quiet")[0] != 0
    found = json_of("plan", tiny_recipe, "--out", tmp_path / "run")
    assert (found["teacher"]["epochs"], found["teacher"]["epochs_left"]) == (4, 1)
    assert found["student"]["epochs_left"] == 3


def test_the_object_has_exactly_the_documented_keys(
    tiny_recipe: Path, json_of: JsonOf, tmp_path: Path
) -> None:
    found = json_of("plan", tiny_recipe, "--out", tmp_path / "run")
    row = next(
        line for line in (ROOT / "docs/json.md").read_text().splitlines() if "| `plan`" in line
    )
    for key in (*found, *found["teacher"], *found["seconds_of_phases"]):
        assert re.search(rf"\b{key}\b", row), key
