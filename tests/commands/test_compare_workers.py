"""`erde compare --workers` and `--shard`: the same bytes, whoever trains them, and who stops."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from erde_cli.app import main
from erde_cli.core.events import Observer
from erde_cli.core.platform.isolated import isolated_python
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows import compare_worker
from erde_cli.core.workflows.compare_networks import Network
from erde_cli.core.workflows.compare_training import Training
from erde_cli.core.workflows.compare_worker import SERVE
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.worker_process import WorkerProcess

from ..conftest import Cli
from ..faults.runs import files_of
from .test_listeners import TRACKER, heard

FEW = ("--set", "training.student.epochs=2", "--set", "training.teacher.epochs=1")
CACHED = ("--set", "distillation.teacher_cache.views=1")
METHODS = ("--methods", "kd,cross_entropy,erde", "--seeds", "2", "--threads", "1")
TWO = ("--workers", "2")
TIMED = ("timings.jsonl", "report.html")  # the page shows the speed of the trainings


def content(run: Path) -> dict[str, bytes]:
    """Every file of a comparison but times, as if all comparisons had the same path."""
    return {
        name: path.read_bytes().replace(str(run).encode(), b"RUN")
        for name, path in files_of(run).items()
        if path.name not in TIMED
    }


@pytest.fixture(scope="module")
def line(tiny_recipe: Path) -> tuple[str, ...]:
    return ("compare", str(tiny_recipe), *METHODS, *FEW, *CACHED)


@pytest.fixture(scope="module")
def in_turn(line: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("turn") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERDE_CACHE", str(run.with_name("cache")))
        assert main([*line, "--out", str(run), "-q"]) == 0
    return run


@pytest.fixture(scope="module")
def at_once(line: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by two workers, in a folder with a json.py of a stranger, while a listener listens.

    Next to the run: `told`, all that the command said, and `heard.jsonl`.
    """
    run = tmp_path_factory.mktemp("once") / "run"
    here, name = run.parent, f"tracker_{run.parent.name}"
    (here / f"{name}.py").write_text(TRACKER.replace("assert json.loads(on_disk[-1]) == row", ""))
    (here / "json.py").write_text(f"open({str(here / 'owned')!r}, 'w')")
    with pytest.MonkeyPatch.context() as patch, (here / "told").open("w") as told:
        patch.chdir(here)
        patch.setenv("ERDE_CACHE", str(here / "cache"))
        patch.setenv("ERDE_LISTENERS", f"{name}:Tracker")
        patch.setattr(sys, "path", [*sys.path, str(here)])
        patch.setattr(sys, "stderr", told)
        assert main([*line, *TWO, "--out", str(run)]) == 0
    return run


@pytest.fixture
def copy(at_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ERDE_CACHE", str(at_once.with_name("cache")))
    return shutil.copytree(at_once, tmp_path / "run")


def told(run: Path) -> list[str]:
    return run.with_name("told").read_text().splitlines()


def test_workers_give_the_same_bytes_as_one_after_the_other(in_turn: Path, at_once: Path) -> None:
    found, wanted = content(at_once), content(in_turn)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
    names = [Path(name).name for name in wanted]
    for name in ("model.safetensors", "metrics.jsonl", "answers.safetensors"):
        assert names.count(name) >= 6, name
    assert not at_once.with_name("owned").exists()


def test_each_seeds_logits_are_computed_once_while_the_other_student_waits(at_once: Path) -> None:
    lines = told(at_once)
    for seed in (3, 4):
        of_seed = [one for one in lines if one.startswith(f"Seed {seed}, ") and "logits" in one]
        assert ["all there" in one for one in of_seed] == [False, True]
        (filled,) = (one for one in of_seed if "0 of 1 views there" in one)
        (read,) = (one for one in of_seed if "all there" in one)
        assert lines.index(filled) < lines.index(f"{read.split(':')[0]}: started")


def test_it_tells_what_each_training_does_and_when_all_are_done(at_once: Path) -> None:
    lines = told(at_once)
    assert "8 networks, 2 at once, 1 thread for each" in lines
    assert sum(": started" in one for one in lines) == 8
    last = [one for one in lines if one.startswith("Seed 3, kd: epoch 2/2")]
    assert len(last) == 1
    assert "calibration " in last[0]
    assert "all trainings: ETA " in last[0]


def test_listeners_know_one_training_at_a_time(at_once: Path) -> None:
    events = heard(at_once.with_name("heard.jsonl"))
    starts = [place for place, event in enumerate(events) if event[0] == "run_started"]
    assert len(starts) == 8
    for begin, end in zip(starts, [*starts[1:], len(events)], strict=True):
        names = [event[0] for event in events[begin:end]]
        epochs = names.count("metrics")
        assert epochs in (1, 2)
        assert names[: 4 + epochs] == [
            "run_started", "training_started", *["metrics"] * epochs, "artifact", "ended",
        ]  # fmt: skip
        folder, role = Path(events[begin][1]), events[begin + 1][1]
        logs = (folder / "logs" / role / "metrics.jsonl").read_text().splitlines()
        rows = [event[2] for event in events[begin:end] if event[0] == "metrics"]
        assert rows == [json.loads(row) for row in logs]


def test_networks_that_are_there_are_kept(copy: Path, line: tuple[str, ...], cli: Cli) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*.safetensors")}
    code, _, err = cli(*line, *TWO, "--out", copy)
    assert code == 0, err
    assert err.count("nothing has changed, kept") == 8
    assert "started" not in err
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*.safetensors")} == before


def test_a_student_that_fails_is_named_and_the_others_go_on(
    copy: Path, line: tuple[str, ...], cli: Cli
) -> None:
    shutil.rmtree(copy / "seed-4/kd/student")
    (copy / "seed-4/kd/student").mkdir()
    (copy / "seed-4/kd/student/notes.txt").write_text("mine")
    code, out, err = cli(*line, *TWO, "--out", copy, "--json")
    assert code == 1
    assert "Seed 4, kd failed. The others go on." in err
    assert "a folder of other files" in err
    (failed,) = json.loads(out)["failed"]
    assert (failed["seed"], failed["method"]) == (4, "kd")
    assert str(copy / "seed-4/kd/student") in failed["reason"]


def on_first_epoch(
    label: str, act: Callable[[Training], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Do something when the command hears that a training has done its first epoch."""
    take = Training._take_epoch

    def taken(self: Training, event: Json) -> None:
        take(self, event)
        if (self.network.label, event["epoch"]) == (label, 1):
            act(self)

    monkeypatch.setattr(Training, "_take_epoch", taken)


def test_a_worker_that_is_killed_is_one_failed_student(
    copy: Path, in_turn: Path, line: tuple[str, ...], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copy / "seed-4/kd")
    with monkeypatch.context() as patch:
        on_first_epoch("kd", lambda training: training.process.kill(), patch)
        code, out, err = cli(*line, *TWO, "--out", copy, "--json")
    assert code == 1
    assert "Seed 4, kd failed. The others go on. Its process ended with signal 9." in err
    (failed,) = json.loads(out)["failed"]
    assert failed["reason"] == "Its process ended with signal 9."
    assert cli(*line, *TWO, "--out", copy)[0] == 0
    assert content(copy) == content(in_turn)


def test_a_signal_stops_every_worker_after_its_step_and_the_same_command_goes_on(
    copy: Path, in_turn: Path, line: tuple[str, ...], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copy / "seed-4/kd")
    with monkeypatch.context() as patch:
        on_first_epoch("kd", lambda _: os.kill(os.getpid(), signal.SIGINT), patch)
        code, _, err = cli(*line, *TWO, "--out", copy)
    assert code == 130, err
    assert "every training has saved its progress" in err
    assert "type the same command to go on" in err
    assert "failed" not in err
    code, _, err = cli(*line, *TWO, "--out", copy)
    assert code == 0, err
    assert content(copy) == content(in_turn)


def events_until(process: WorkerProcess, kind: str | None) -> list[Any]:
    """What a worker says until an event of a kind, or until its end."""
    said: list[Any] = []
    while kind not in said and (events := process.read()) is not None:
        said += [event["event"] if event["event"] != "done" else event for event in events]
    return said


@pytest.fixture
def message(copy: Path, line: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, cli: Cli) -> Json:
    """The message to the worker that trains a student missing from `copy`."""
    shutil.rmtree(copy / "seed-4/kd")
    requests: list[Json] = []

    def remember(_: str, message: Json, __: object) -> None:
        requests.append(message)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("erde_cli.core.workflows.compare_workers.WorkerProcess", remember)
        assert cli(*line, *TWO, "--out", copy)[0] == 130
    (message,) = requests
    return message


def test_a_worker_computes_first_the_views_that_other_students_wait_for(
    message: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def stop(_: Network, __: object, options: Options, ___: object) -> None:
        asked.append(options.views_first)
        raise InterruptedError

    monkeypatch.setattr(Network, "train", stop)
    for views in (1, 7):
        with pytest.raises(InterruptedError):
            compare_worker._work({**message, "views_first": views}, Observer())
    assert (message["views_first"], asked) == (1, [1, 7])


def test_a_worker_whose_command_is_killed_stops_after_its_step(copy: Path, message: Json) -> None:
    """A killed process closes its end of the pipe, and so does this test."""
    message["recipe"]["training"]["student"]["epochs"] = 10_000
    process = WorkerProcess(SERVE, message, {})
    assert "done" not in events_until(process, "epoch")
    assert process._process.stdin is not None
    process._process.stdin.close()
    assert events_until(process, None)[-1] == {"event": "done", "status": "stopped"}
    assert process.end() == 0
    assert list((copy / "seed-4/kd/checkpoints/student").iterdir())


def test_shards_train_their_seeds_and_the_command_without_merges_them(
    in_turn: Path, line: tuple[str, ...], tmp_path: Path, cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("ERDE_CACHE", str(in_turn.with_name("cache")))
    run = tmp_path / "run"
    code, out, err = cli(*line, "--out", run, "--shard", "2/2")
    assert code == 0, err
    assert {path.name for path in run.iterdir()} == {"compare.json", "seed-4"}
    assert out.startswith(f"Shard 2/2: seeds done: 4, of 2 in {run}.")
    assert "type the same command without --shard 2/2" in out
    code, out, err = cli(*line, "--out", run, "--shard", "1/2", "--json")
    assert (code, json.loads(out)) == (
        0,
        {"shard": "1/2", "run": str(run), "seeds": [3], "all_seeds": [3, 4], "failed": []},
    )
    answers = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    code, _, err = cli(*line, "--out", run)
    assert code == 0, err
    assert err.count("nothing has changed, kept") == 8
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")} == answers
    assert content(run) == content(in_turn)
    assert not list(run.rglob(".*"))


HOLD = (
    "from pathlib import Path\n"
    "from erde_cli.core.storage.run_lock import {0}\n"
    "with {0}(Path({1!r})) as settled:\n"
    "    settled and settled(); print('held', flush=True); sys.stdin.read()\n"
)


@pytest.mark.parametrize(
    ("kind", "folder", "arguments", "refused"),
    [
        ("one_of_several", "", (), True),
        ("one_writer", "", ("--shard", "1/2"), True),
        ("one_writer", "seed-3", ("--shard", "1/2"), True),
        ("one_of_several", "", ("--shard", "1/2"), False),
    ],
)
def test_a_shard_and_the_whole_command_refuse_each_other(
    kind: str, folder: str, arguments: tuple[str, ...], refused: bool, copy: Path,
    line: tuple[str, ...], cli: Cli,
) -> None:  # fmt: skip
    command = isolated_python(HOLD.format(kind, str(copy / folder)))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        code, _, err = cli(*line, "--out", copy, *arguments)
        process.communicate("")
    assert code == (2 if refused else 0), err
    if refused:
        assert f"Another erde process is writing to {copy / folder}." in err
        holder = "one or more of --shard" if kind == "one_of_several" else f"process {process.pid}"
        assert f"got:      {holder}" in err


def test_shards_do_not_share_a_database(line: tuple[str, ...], tmp_path: Path, cli: Cli) -> None:
    run = tmp_path / "run"
    code, _, err = cli(*line, "--out", run, "--shard", "1/2", "--track", "mlflow")
    assert code == 2
    assert "expected: --track mlflow:ADDRESS" in err
    assert not run.exists()
