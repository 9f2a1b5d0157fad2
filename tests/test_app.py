"""One error, one message, one exit code; Ctrl-C loses no finished phase."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from erde_cli import app

from .conftest import Cli


def test_ctrl_c_states_how_to_continue_and_leaves_nothing_half_written(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        [
            sys.executable, "-m", "erde_cli", "run", str(tiny_recipe), "--out", str(run),
            "--threads", "1", "--set", "training.student.epochs=5000",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 2/5000"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "type the same command to go on" in err
    assert "Traceback" not in err
    assert out == ""
    assert (run / "teacher" / "bundle.json").is_file()
    assert not (run / "student").exists()
    assert not list(run.rglob(".*"))


def test_an_error_of_the_system_is_not_a_bug(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/somewhere/file")

    monkeypatch.setattr("erde_cli.commands.run_input.read_input", refuse)
    code, out, err = cli("run", "digits", "--json")
    assert code == 1
    assert json.loads(out)["error"]["exit_code"] == 1
    assert "Error: The operating system reported: /somewhere/file: No space left on device." in err
    assert "Traceback" not in err
    assert "bug" not in err


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried")]
)
def test_no_memory_is_not_a_bug(
    error: Exception, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("erde_cli.commands.run_input.read_input", refuse)
    code, _, err = cli("run", "digits", "--json")
    assert code == 1
    assert "Error: There is not enough free memory: " in err
    assert "batch_size" in err
    assert "Traceback" not in err


def test_a_bug_is_an_object_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    code = app._failed(["profile", "--json"], ValueError("impossible"))
    out, err = capsys.readouterr()
    assert code == 1
    assert json.loads(out)["error"] == {
        "type": "ValueError", "message": "impossible", "got": "", "expected": "", "hint": "",
        "exit_code": 1,
    }  # fmt: skip
    assert "This is a bug in erde" in err


def test_a_failure_of_the_machine_is_exit_code_1(
    tiny_recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    code, out, err = cli(
        "train-teacher", tiny_recipe, "--out", tmp_path / "run", "--json",
        "--set", "training.teacher.learning_rate=1e30",
        "--set", "training.teacher.gradient_clipping=null",
    )  # fmt: skip
    assert code == 1
    assert json.loads(out)["error"]["type"] == "TrainingError"
    assert "loss or gradients were not finite (epoch 2, step 10 of 20, learning rate 9" in err
    assert f"in {tmp_path / 'run/checkpoints/teacher'}" in err
    assert not (tmp_path / "run" / "teacher").exists()
