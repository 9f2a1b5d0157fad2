"""The files a process writes next to those of torchrun, and how it reads those of others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from erde_cli.core.processes.lost import (
    claims_report,
    lost_at_start,
    lost_processes,
    started,
    starts,
)
from tests.core.processes.test_store import process_that_has_ended


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of three processes that torchrun has started; this one has rank 4."""
    for local in range(3):
        (tmp_path / str(local)).mkdir()
    monkeypatch.setenv("RANK", "4")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "1/error.json"))
    return tmp_path


def test_a_note_names_the_process_until_it_has_met_the_others(attempt: Path) -> None:
    starts()
    assert (attempt / "1/erde-starting").read_text() == f"{os.getpid()} 4"
    started()
    started()
    assert not list(attempt.rglob("erde-*"))


def test_notes_of_processes_that_have_ended_are_those_of_lost_ones(attempt: Path) -> None:
    starts()
    assert lost_at_start() == []
    ended = process_that_has_ended()
    (attempt / "2/erde-starting").write_text(f"{ended} 5")
    assert lost_at_start() == [5]
    (attempt / "0/erde-starting").write_text(f"{ended} 3")
    assert lost_at_start() == [3, 5]
    assert "has lost ranks 3, 5: killed" in str(lost_processes([3, 5]))


@pytest.mark.parametrize("note", ["", "x", "1", "1 2 3", f"{10**20} 1", "-1 1", "0 1", b"\xff\xff"])
def test_notes_that_erde_does_not_write_mean_nothing(attempt: Path, note: str | bytes) -> None:
    content = note if isinstance(note, bytes) else note.encode()
    (attempt / "2/erde-starting").write_bytes(content)
    assert lost_at_start() == []


def test_one_process_of_a_host_reports(attempt: Path) -> None:
    assert claims_report()
    assert not claims_report()
    assert not claims_report(otherwise=True)


@pytest.mark.parametrize("folder", ["", "/", ".", "missing/1/error.json", "a\nb/error.json"])
@pytest.mark.parametrize("rank", ["4", "x", ""])
def test_odd_surroundings_are_passed_over(
    folder: str, rank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty/inner"
    empty.mkdir(parents=True)
    monkeypatch.chdir(empty)
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", folder)
    starts()
    assert lost_at_start() == []
    if not folder:
        assert claims_report()
        assert not claims_report(otherwise=False)
    started()
