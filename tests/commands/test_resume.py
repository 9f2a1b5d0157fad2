"""Trainings that are stopped and go on: the same bytes as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from erde_cli.core.storage.run_lock import LOCK, one_writer
from erde_cli.core.training import epochs as module

from ..conftest import Cli
from ..faults.runs import differences

ERDE = (sys.executable, "-m", "erde_cli")
CACHED = ("--set", "distillation.teacher_cache.views=2")


def bytes_of(run: Path) -> dict[str, bytes]:
    """What must not depend on a stop: weights, and all logs but the times."""
    names = [*run.rglob("model.safetensors"), *run.rglob("metrics.jsonl")]
    return {str(path.relative_to(run)): path.read_bytes() for path in names}


def report_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "report.json").read_text())
    return {name: value for name, value in found.items() if name != "seconds"}


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGTERM) -> None:
    """Send this process a signal after a step of the next training."""
    after = module.TrainingRecorder.after_step

    def stop(self: module.TrainingRecorder, state: Any) -> None:
        if state.step == step:
            os.kill(os.getpid(), number)
        after(self, state)

    monkeypatch.setattr(module.TrainingRecorder, "after_step", stop)


@pytest.mark.parametrize("step", [1, 20, 37])
def test_a_run_that_was_stopped_anywhere_gives_the_same_bytes(
    step: int, tiny_recipe: Path, finished_run: Path, tmp_path: Path, cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Stopped in the teacher and again in the student, inside an epoch and at its end."""
    run = tmp_path / "tiny"
    with monkeypatch.context() as patch:
        stop_after(step, patch)
        code, _, err = cli("run", tiny_recipe, "--out", run)
        assert code == 128 + signal.SIGTERM
        assert "nothing is lost" in err
        assert f"after step {step} " in err
    with monkeypatch.context() as patch:
        stop_after(step - 1, patch)
        code = cli("run", tiny_recipe, "--out", run)[0]
        assert code in (0, 143)
    code, _, err = cli("run", tiny_recipe, "--out", run)
    assert code == 0, err
    assert "teacher: nothing has changed, kept" in err
    assert bytes_of(run) == bytes_of(finished_run)
    assert report_of(run) == report_of(finished_run)
    assert not (run / "checkpoints").exists() or not any((run / "checkpoints").iterdir())
    assert not list(run.rglob(".*"))


def test_the_teachers_cache_makes_no_difference(
    tiny_recipe: Path, finished_run: Path, tmp_path: Path, cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    teacher = ("--teacher", finished_run / "teacher")
    arguments = ("distill", tiny_recipe, *teacher, *CACHED, "-q")
    assert cli(*arguments, "--out", straight)[0] == 0
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "cache"))
    with monkeypatch.context() as patch:
        stop_after(20, patch, signal.SIGINT)
        assert cli(*arguments, "--out", stopped)[0] == 130
    assert cli(*arguments, "--out", stopped, "--resume")[0] == 0
    assert bytes_of(stopped) == bytes_of(straight)


def test_without_a_word_a_stopped_training_is_neither_lost_nor_taken_up(
    tiny_recipe: Path, finished_run: Path, tmp_path: Path, cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(22, patch)
        code, _, err = cli("train-teacher", tiny_recipe, "--out", run)
        assert code == 143
        assert "--resume" in err
    before = sorted((run / "checkpoints/teacher").iterdir())
    code, _, err = cli("train-teacher", tiny_recipe, "--out", run)
    assert code == 2
    assert "stopped in epoch 2" in err
    assert "--resume, or start again with --no-resume" in err
    assert sorted((run / "checkpoints/teacher").iterdir()) == before
    code, _, err = cli("train-teacher", tiny_recipe, "--out", run, "--no-resume")
    assert code == 0
    assert "going on" not in err
    weights = "teacher/model.safetensors"
    assert (run / weights).read_bytes() == (finished_run / weights).read_bytes()


@pytest.mark.parametrize(
    ("name", "other"), [("device", "cuda"), ("world_size", 2), ("torch", "1.0"), ("threads", 64)]
)
def test_going_on_elsewhere_is_told(
    name: str, other: object, tiny_recipe: Path, tmp_path: Path, cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The other place is what the checkpoint says it was made by."""
    begin = module.TrainingRecorder.begin

    def begin_elsewhere(self: module.TrainingRecorder, state: Any) -> None:
        self._made_by[name] = other
        begin(self, state)

    line = ("train-teacher", tiny_recipe, "--out", tmp_path / "run",
            "--set", "training.teacher.epochs=1")  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(module.TrainingRecorder, "begin", begin_elsewhere)
        stop_after(3, patch)
        assert cli(*line)[0] == 143
    code, _, err = cli(*line, "--resume")
    assert code == 0, err
    assert f"{name} was {other}, is " in err.replace("\n", " ")
    assert "not bit-identical to that of an uninterrupted run" in err.replace("\n", " ")


def test_another_recipe_does_not_take_up_a_state(
    tiny_recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(20, patch)
        assert cli("train-teacher", tiny_recipe, "--out", run)[0] == 143
    rate = ("--set", "training.teacher.learning_rate=0.2")
    code, _, err = cli("train-teacher", tiny_recipe, "--out", run, "--resume", *rate)
    assert code == 0
    assert "going on" not in err


def test_a_process_that_is_killed_goes_on_from_its_last_checkpoint(
    tiny_recipe: Path, finished_run: Path, tmp_path: Path, cli: Cli
) -> None:
    run = tmp_path / "tiny"
    command = [*ERDE, "run", str(tiny_recipe), "--out", str(run), "--threads", "1"]
    environment = {**os.environ, "ERDE_CHECKPOINT_SECONDS": "0"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        folder = run / "checkpoints/teacher"
        while not list(folder.glob("step-*")) and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert list(folder.glob("step-*"))
    code, _, err = cli("run", tiny_recipe, "--out", run, "--threads", 1)
    assert code == 0, err
    assert "continuing in epoch" in err
    assert bytes_of(run) == bytes_of(finished_run)


def test_a_second_writer_is_refused_while_the_first_one_lives(tmp_path: Path, cli: Cli) -> None:
    run = tmp_path / "run"
    hold = (
        "import sys, time; from pathlib import Path\n"
        "from erde_cli.core.storage.run_lock import one_writer\n"
        "with one_writer(Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(run)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        for command in ("run", "train-teacher", "distill", "compare"):
            code, _, err = cli(command, "digits", "--out", run)
            assert code == 2
            assert "Another erde process is writing" in err
            assert f"process {process.pid}" in err
        process.kill()
    with one_writer(run):
        assert (run / LOCK).read_text() == str(os.getpid())
    assert not (run / LOCK).exists()


def left_behind(run: Path) -> None:
    """What killed processes leave: half a file, half a folder, states of what is finished."""
    (run / "student/.erde-new-thresholds.json.abcdefgh.json").write_text("{")
    (run / "teacher/.erde-new-abcdefgh").mkdir()
    for role in ("teacher", "student"):
        (run / "checkpoints" / role).mkdir(parents=True)
        (run / "checkpoints" / role / "step-000000009-0123456789abcdef.pt").write_bytes(b"state")


def test_a_run_tidies_up_what_killed_ones_have_left(
    tiny_recipe: Path, finished_run: Path, run_copy: Path, cli: Cli
) -> None:
    left_behind(run_copy)
    assert cli("run", tiny_recipe, "--out", run_copy)[0] == 0
    assert differences(run_copy, finished_run) == []


def test_a_comparison_tidies_up_as_well(tiny_recipe: Path, tmp_path: Path, cli: Cli) -> None:
    line = ("compare", tiny_recipe, "--methods", "kd", "--seeds", 1, "--out", tmp_path / "run",
            "--set", "training.teacher.epochs=1", "--set", "training.student.epochs=1")  # fmt: skip
    assert cli(*line)[0] == 0
    shutil.copytree(tmp_path / "run", tmp_path / "before")
    for folder in ("seed-3", "seed-3/kd"):
        left = tmp_path / "run" / folder
        (left / ".erde-new-abcdefgh").mkdir()
        for role in ("teacher", "student"):
            (left / "checkpoints" / role).mkdir(parents=True)
            (left / "checkpoints" / role / "step-000000009-0123456789abcdef.pt").write_bytes(b"")
    assert cli(*line)[0] == 0
    found = {one for one in differences(tmp_path / "run", tmp_path / "before") if "step-" in one}
    # No student stands beside the teacher, and no teacher beside the student: not erde's own.
    assert found == {
        f"{name} is not in an undisturbed run"
        for name in (
            "seed-3/checkpoints/student/step-000000009-0123456789abcdef.pt",
            "seed-3/kd/checkpoints/teacher/step-000000009-0123456789abcdef.pt",
        )
    }


def test_a_wrong_number_of_seconds_is_bad_input(
    tiny_recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERDE_CHECKPOINT_SECONDS", "often")
    code, _, err = cli("train-teacher", tiny_recipe, "--out", tmp_path / "run")
    assert code == 2
    assert "$ERDE_CHECKPOINT_SECONDS" in err
