"""A folder for each case, and the one check that all cases go through."""

from __future__ import annotations

import builtins
import io
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from ..conftest import Cli
from .case import Case, check, snapshot

SECONDS = 60  # after which a case is taken to hang; torch may first have to be imported


class _HangsError(Exception):
    """Not a TimeoutError: that one is an OSError, and would be told like a file that is missing."""


Refused = Callable[[Case], None]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a case, with a home beside it."""
    folder, home = tmp_path / "here", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(home))
    return folder


@pytest.fixture
def trained(here: Path, finished_run: Path) -> Path:
    """The working folder with a finished run of its own in `run`."""
    shutil.copytree(finished_run, here / "run")
    return here


@pytest.fixture(autouse=True)
def _no_case_hangs() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _HangsError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def refused(here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, short_timings: None) -> Refused:
    """Type the line of a case, without and with --json: refused both times, and nothing written."""

    def run(case: Case) -> None:
        case.put(here)
        for name, value in case.environment.items():
            monkeypatch.setenv(name, value.format(here=here))
        before = snapshot(here.parent)
        if case.locked:
            lock(case.locked, monkeypatch)
        for as_json in (False, True):
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(case.stdin)))
            arguments = case.arguments
            options = [place for place, one in enumerate(arguments) if one.startswith("--")]
            if as_json:
                arguments.insert(min(options, default=len(arguments)), "--json")
            code, out, err = cli(*arguments)
            check(case, code, out, err, as_json=as_json)
        monkeypatch.undo()
        assert snapshot(here.parent) == before

    return run


def lock(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of this name be opened or listed, and nothing in it be looked at or made."""

    def guarded(call: Callable[..., Any], itself: bool) -> Callable[..., Any]:
        def guard(path: Any, *arguments: Any, **options: Any) -> Any:
            parts = () if isinstance(path, int) else Path(os.fsdecode(path)).parts
            if name in (parts if itself else parts[:-1]):
                raise PermissionError(13, "Permission denied", os.fsdecode(path))
            return call(path, *arguments, **options)

        return guard

    for module, calls, itself in (
        (os, ("open", "scandir", "listdir"), True),
        (os, ("stat", "lstat", "mkdir", "rename", "replace"), False),
        (io, ("open",), True),
        (builtins, ("open",), True),
    ):
        for call in calls:
            monkeypatch.setattr(module, call, guarded(getattr(module, call), itself))
