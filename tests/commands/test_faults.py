"""The short form of `python -m tests.faults`: a run is killed, or its writes fail, at random."""

import errno
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Cli
from ..faults.kills import kill_at_random
from ..faults.runs import Line, differences, files_of, strays

SECONDS = 6.0  # about what a run takes, most of it to start


def test_a_run_that_is_killed_at_random_moments_ends_as_if_nothing_had_happened(
    tiny_recipe: Path, finished_run: Path, tmp_path: Path
) -> None:
    cached = ("--set", "distillation.teacher_cache.views=2")
    line = Line(("run", str(tiny_recipe), *cached), tmp_path / "cache")
    straight = tmp_path / "straight"
    line.finish(straight)
    done = kill_at_random(line, straight, SECONDS, tmp_path, kills=3, seed=4)
    assert len(done.moments) == 3
    assert done.differences == []


class Disk:
    """Fails now and then in what writes go through: a file or folder made, flushed, renamed."""

    CALLS = ((tempfile, "mkstemp"), (tempfile, "mkdtemp"), (os, "fsync"), (os, "replace"),
             (os, "mkdir"), (os, "open"))  # fmt: skip

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._draws = random.Random(seed)
        self.why, self.left = errno.ENOSPC, 10**9
        for module, name in self.CALLS:
            monkeypatch.setattr(module, name, self._failing(getattr(module, name), name))

    def _failing(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            reads = name == "open" and not given[1] & (os.O_WRONLY | os.O_RDWR)
            if reads or (name == "mkdir" and Path(given[0]).is_dir()):
                return real(*given, **named)
            self.left -= 1
            if self.left == 0:
                raise OSError(self.why, os.strerror(self.why))
            return real(*given, **named)

        return call

    def fail_after(self, most: int) -> None:
        """Let one of the next calls fail."""
        self.why = self._draws.choice([errno.ENOSPC, errno.EIO])
        self.left = self._draws.randint(1, most)

    def heal(self) -> None:
        self.left = 10**9


@pytest.mark.parametrize("seed", range(2))
def test_a_run_whose_writes_fail_is_told_so_and_goes_on_from_its_last_state(
    seed: int, tiny_recipe: Path, finished_run: Path, tmp_path: Path, cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("ERDE_CHECKPOINT_SECONDS", "0.05")
    disk = Disk(seed, monkeypatch)
    run, errors = tmp_path / "run", 0
    for _ in range(12):
        before = {name: path.read_bytes() for name, path in files_of(run).items()}
        disk.fail_after(50)
        code, _, err = cli("run", tiny_recipe, "--out", run)
        disk.heal()
        if code == 0:
            break
        errors += 1
        assert code in (1, 2)
        assert os.strerror(disk.why) in err
        assert err.count("Error: ") == 1
        assert "Traceback" not in err
        assert strays(tmp_path) == []
        after = files_of(run)
        for name in before:  # what had been finished is as it was
            if name.endswith((".safetensors", "bundle.json")):
                assert after[name].read_bytes() == before[name]
    code, _, err = cli("run", tiny_recipe, "--out", run)
    assert code == 0, err
    assert errors >= 2
    assert differences(run, finished_run) == []


@pytest.mark.parametrize("target", ["max_macs", "max_risk"])
def test_a_write_that_fails_at_any_point_of_a_folder_leaves_the_old_one(
    target: str, tiny_recipe: Path, run_copy: Path, finished_run: Path, cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Every call of `erde calibrate` that can fail does, one after the other."""
    disk = Disk(0, monkeypatch)
    student = run_copy / "student"
    before = {name: path.read_bytes() for name, path in files_of(student).items()}
    line = ("calibrate", student, f"--{target.replace('_', '-')}", 0.7)
    for place in range(1, 100):
        disk.left = place
        code, _, err = cli(*line)
        if disk.left > 0:
            break
        assert code == 1, err
        assert "No space left on device" in err
        assert strays(run_copy) == []
        after = {name: path.read_bytes() for name, path in files_of(student).items()}
        whole = after["thresholds.json"] == before["thresholds.json"]
        assert whole or f'"{target}"'.encode() in after["thresholds.json"]
        recorded = after.pop("tests.json", None)
        assert (recorded is not None) >= (target == "max_risk" and not whole)
        assert {**after, "thresholds.json": b"", "frontier.png": b""} == {
            **before, "thresholds.json": b"", "frontier.png": b"",
        }  # fmt: skip
    assert code == 0
    assert place > 8
