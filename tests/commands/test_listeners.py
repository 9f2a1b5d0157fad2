"""A tracker of the user's own, switched on in the environment, hears a whole run."""

import json
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Cli

TRACKER = """\
import json
import os
import signal
from pathlib import Path

from erde_cli.core.events import Observer


class Tracker(Observer):
    def run_started(self, folder, recipe):
        self.folder = folder
        self.write("run_started", str(folder), recipe)

    def training_started(self, role, epoch):
        self.write("training_started", role, epoch)

    def metrics(self, role, row):
        on_disk = (self.folder / "logs" / role / "metrics.jsonl").read_text().splitlines()
        assert json.loads(on_disk[-1]) == row
        self.write("metrics", role, row)
        row.clear()

    def artifact(self, path, kind):
        assert path.exists()
        self.write("artifact", str(path.relative_to(self.folder)), kind)

    def ended(self, status):
        self.write("ended", status)

    def write(self, *event):
        with Path(__file__).with_name("heard.jsonl").open("a") as file:
            file.write(json.dumps(event) + "\\n")


class Stopper(Observer):
    def metrics(self, role, row):
        if row["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGINT)


class Broken(Observer):
    def step(self, event):
        raise OSError("disk full")
"""


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File that the tracker of this test writes to."""
    name = f"tracker_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(TRACKER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ERDE_LISTENERS", f"{name}:Broken,{name}:Tracker")
    return tmp_path / "heard.jsonl"


def heard(path: Path) -> list[list[Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_tracker_hears_a_whole_run(
    tracked: Path, tiny_recipe: Path, finished_run: Path, tmp_path: Path, cli: Cli
) -> None:
    run = tmp_path / "run"
    code, _, err = cli("run", tiny_recipe, "--out", run, "--quiet")
    assert code == 0, err
    assert err.count("The listener Broken failed in step") == 1
    events = heard(tracked)
    name, folder, recipe = events[0]
    assert (name, folder, recipe["seed"]) == ("run_started", str(run), 3)
    assert recipe["training"]["teacher"]["epochs"] == 4
    trained = [event for event in events if event[0] in ("training_started", "metrics")]
    expected = []
    for role in ("teacher", "student"):
        expected.append(["training_started", role, 0])
        logs = (finished_run / "logs" / role / "metrics.jsonl").read_text()
        assert (run / "logs" / role / "metrics.jsonl").read_text() == logs
        expected += [["metrics", role, json.loads(line)] for line in logs.splitlines()]
    assert trained == expected
    written = {tuple(event[1:]) for event in events if event[0] == "artifact"}
    assert {
        ("teacher", "bundle"), ("student", "bundle"), ("report.json", "report"),
        ("student/thresholds.json", "thresholds"),
        ("student/evaluation/test/evaluation.json", "evaluation"),
        ("student/evaluation/test/confusion.png", "picture"),
    } <= written  # fmt: skip
    assert events[-1] == ["ended", "finished"]
    assert [event[0] for event in events].count("run_started") == 1

    tracked.unlink()
    assert cli("run", tiny_recipe, "--out", run, "--quiet")[0] == 0
    assert [event[0] for event in heard(tracked)] == ["run_started", "ended"]


def test_a_run_that_fails_says_so(
    tracked: Path, tiny_recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    line = ("distill", tiny_recipe, "--out", tmp_path / "run", "--quiet")
    assert cli(*line)[0] == 2  # there is no teacher
    assert heard(tracked)[-1] == ["ended", "failed"]


def test_a_training_that_goes_on_says_after_which_epoch(
    tracked: Path, tiny_recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = f"tracker_{tmp_path.name}"
    line = ("train-teacher", tiny_recipe, "--out", tmp_path / "run", "--quiet", "--resume")
    monkeypatch.setenv("ERDE_LISTENERS", f"{tracker}:Stopper,{tracker}:Tracker")
    assert cli(*line)[0] == 130
    assert heard(tracked)[-1] == ["ended", "stopped"]
    tracked.unlink()
    monkeypatch.setenv("ERDE_LISTENERS", f"{tracker}:Tracker")
    assert cli(*line)[0] == 0
    events = heard(tracked)
    assert events[1] == ["training_started", "teacher", 2]
    assert [event[2]["epoch"] for event in events if event[0] == "metrics"] == [3, 4]


def test_a_listener_that_is_not_there_is_wrong_input(
    tiny_recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERDE_LISTENERS", "no_such_module:Tracker")
    code, out, err = cli("run", tiny_recipe, "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    assert "$ERDE_LISTENERS" in err
    assert "No module named" in err
    assert not (tmp_path / "run" / "run.json").exists()
