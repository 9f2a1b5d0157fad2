"""Checkpoints: what is read back is what was written, or nothing of it."""

import io
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from erde_cli.core.errors import ErdeError
from erde_cli.core.training.checkpoints import Checkpoints, Saved


def saved(step: int) -> Saved:
    return Saved({"threads": 1}, {"step": step, "w": torch.full((3,), step)}, [{"epoch": 1}], [])


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    found = Checkpoints(tmp_path / "checkpoints", "abc")
    for step in (5, 20, 100):
        found.save(step, saved(step))
    return found


def latest(checkpoints: Checkpoints) -> tuple[int | None, list[str]]:
    warnings: list[str] = []
    found = checkpoints.latest(warnings.append)
    return (None if found is None else found.state["step"]), warnings


def files(checkpoints: Checkpoints) -> list[Path]:
    return sorted(checkpoints.folder.iterdir())


def test_the_newest_state_comes_back_and_the_one_before_it_is_kept(
    checkpoints: Checkpoints,
) -> None:
    found = checkpoints.latest(pytest.fail)
    assert found is not None
    assert found.state["w"].tolist() == [100.0] * 3
    assert (found.made_by, found.metrics, found.timings) == ({"threads": 1}, [{"epoch": 1}], [])
    assert [path.name[:14] for path in files(checkpoints)] == ["step-000000020", "step-000000100"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "unreadable"])
def test_a_damaged_file_is_named_and_the_one_before_it_serves(
    checkpoints: Checkpoints, damage: str
) -> None:
    newest = files(checkpoints)[-1]
    content = bytearray(newest.read_bytes())
    if damage == "unreadable":
        newest.unlink()
        newest.mkdir()
    else:
        content[len(content) // 2] ^= 1
        kept = {"truncated": len(content) // 2, "flipped": len(content), "empty": 0}[damage]
        newest.write_bytes(content[:kept])
    step, warnings = latest(checkpoints)
    assert step == 20
    assert str(newest) in warnings[0]


def test_other_inputs_have_no_state_here(checkpoints: Checkpoints) -> None:
    assert Checkpoints(checkpoints.folder, "other").latest(pytest.fail) is None


def test_a_pickle_runs_no_code_even_under_a_true_digest(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    class Malicious:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "owned"),)

    from erde_cli.core.training.checkpoints import _digest

    stream = io.BytesIO()
    torch.save({"format": 1, "state": Malicious()}, stream)
    content = stream.getvalue()
    path = checkpoints.folder / f"step-000000900-{_digest(content)}.pt"
    path.write_bytes(content)
    step, warnings = latest(checkpoints)
    assert step == 100
    assert "not what erde writes" in warnings[0]
    assert not (tmp_path / "owned").exists()


def test_another_format_is_said_to_be_one(checkpoints: Checkpoints) -> None:
    from erde_cli.core.training.checkpoints import _digest

    stream = io.BytesIO()
    torch.save({"format": 2}, stream)
    content = stream.getvalue()
    (checkpoints.folder / f"step-000000900-{_digest(content)}.pt").write_bytes(content)
    step, warnings = latest(checkpoints)
    assert step == 100
    assert "another version of erde" in warnings[0]


def test_where_nothing_can_be_written_the_last_good_state_stays(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in files(checkpoints)}

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as handle:
            handle.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ErdeError, match="No space left on device"):
        checkpoints.save(200, saved(200))
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in files(checkpoints)} == before
    assert latest(checkpoints) == (100, [])


def test_a_finished_training_leaves_no_folder(checkpoints: Checkpoints) -> None:
    checkpoints.clear()
    assert not checkpoints.folder.exists()
    checkpoints.clear()
