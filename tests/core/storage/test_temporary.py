"""What a killed process leaves half-written is swept; what a living one writes is not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from erde_cli.core.storage.files import replaced_folder, write_text
from erde_cli.core.storage.temporary import new_file, new_folder, set_aside, sweep

WRITE = """
import sys, time
from pathlib import Path
from erde_cli.core.storage.temporary import new_file, new_folder, set_aside
path = Path(sys.argv[2])
if sys.argv[1] == "set_aside":
    stack = set_aside(path)
else:
    stack = {"new_file": new_file, "new_folder": new_folder}[sys.argv[1]](path)
with stack as made:
    if made is not None:
        (made / "half" if made.is_dir() else made).write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def writing(how: str, path: Path) -> subprocess.Popen[str]:
    """A process that has begun to write, and is at it until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, how, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("how", ["new_file", "new_folder"])
def test_what_is_being_written_is_swept_once_its_process_is_gone(how: str, tmp_path: Path) -> None:
    with writing(how, tmp_path / "result.json") as process:
        begun = names(tmp_path)
        assert len(begun) == 1
        sweep(tmp_path)
        assert names(tmp_path) == begun
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert names(tmp_path) == begun
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_a_folder_whose_successor_never_came_is_put_back(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "weights").write_text("old")
    with writing("set_aside", bundle) as process:
        sweep(tmp_path)
        assert not bundle.exists()  # its process lives: it is about to put another there
        process.kill()
    sweep(tmp_path)
    assert names(tmp_path) == ["bundle"]
    assert (bundle / "weights").read_text() == "old"


def test_a_folder_whose_successor_came_is_removed(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    with writing("set_aside", bundle) as process:
        process.kill()
    bundle.mkdir()
    (bundle / "weights").write_text("new")
    sweep(tmp_path)
    assert names(tmp_path) == ["bundle"]
    assert names(bundle) == ["weights"]


def test_a_place_that_cannot_be_taken_gets_its_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "weights").write_text("old")
    rename = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target == bundle and not self.name.startswith(".erde-old-"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(Exception, match="Input/output error"), replaced_folder(bundle) as folder:
        (folder / "weights").write_text("new")
    assert names(tmp_path) == ["bundle"]
    assert (bundle / "weights").read_text() == "old"


def test_only_a_deep_sweep_goes_below(tmp_path: Path) -> None:
    below = tmp_path / "student"
    below.mkdir()
    with writing("new_file", below / "thresholds.json") as process:
        process.kill()
    sweep(tmp_path)
    assert len(names(below)) == 1
    sweep(tmp_path, deep=True)
    assert names(below) == []


def test_other_hidden_files_links_and_pipes_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / ".hidden").write_text("")
    (tmp_path / ".erde-new-link").symlink_to(tmp_path / "kept")
    os.mkfifo(tmp_path / ".erde-new-pipe")
    with writing("new_file", tmp_path / "result.json") as process:
        process.kill()
    sweep(tmp_path)
    assert (tmp_path / "kept").read_text() == "kept"
    assert [name for name in names(tmp_path) if name != ".erde-new-pipe"] == [
        ".erde-new-link", ".hidden", "kept",
    ]  # fmt: skip


def test_what_was_swept_between_making_and_holding_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may come just then; it is played by a lock that removes the first file."""
    import fcntl

    lock, swept = fcntl.flock, []

    def sweep_first(handle: int, how: int) -> None:
        lock(handle, how)
        if not swept:
            swept.extend(tmp_path.iterdir())
            swept[0].unlink() if swept[0].is_file() else swept[0].rmdir()

    for make in (new_file, new_folder):
        swept.clear()
        with monkeypatch.context() as patch:
            patch.setattr(fcntl, "flock", sweep_first)
            with make(tmp_path / "a.json") as made:
                assert made.exists()
                assert made != swept[0]
        assert names(tmp_path) == []


def test_what_is_set_aside_is_gone_once_the_new_one_is_there(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    write_text(bundle / "a", "old")
    with set_aside(bundle):
        assert not bundle.exists()
        write_text(bundle / "b", "new")
    assert names(tmp_path) == ["bundle"]
    assert names(bundle) == ["b"]
