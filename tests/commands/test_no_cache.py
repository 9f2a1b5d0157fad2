"""Commands work without a writable cache, and one warning is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from erde_cli.core.data.published_files import data_root
from erde_cli.core.errors import DataError
from erde_cli.core.storage import cache
from erde_cli.core.workflows import view_caches

from ..conftest import Cli

Prepare = Callable[[Path, pytest.MonkeyPatch], str]


def no_home(folder: Path, patch: pytest.MonkeyPatch) -> str:
    def refuse(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    patch.setattr(Path, "home", refuse)
    return "Cannot write to the user's cache: Could not determine home"


def no_such_home(folder: Path, patch: pytest.MonkeyPatch) -> str:
    patch.setenv("HOME", "/proc/nowhere")
    return "Cannot write to /proc/nowhere/.cache/erde: No such file"


def a_file(folder: Path, patch: pytest.MonkeyPatch) -> str:
    (folder / "file").touch()
    patch.setenv("ERDE_CACHE", str(folder / "file"))
    return f"Cannot write to {folder / 'file'}: Not a directory"


def of_somebody(folder: Path, patch: pytest.MonkeyPatch) -> str:
    """A tilde that leads nowhere."""
    patch.setenv("ERDE_CACHE", "~nobody-of-this-name/cache")
    return "Cannot write to the user's cache: Could not determine home"


KINDS = [no_home, no_such_home, a_file, of_somebody]


def without_cache(kind: Prepare, folder: Path, patch: pytest.MonkeyPatch) -> str:
    """Take the cache away; what the one warning says."""
    for name in ("ERDE_CACHE", "XDG_CACHE_HOME"):
        patch.delenv(name, raising=False)
    cache.temporary_folder.cache_clear()  # there is one command after the other in this process
    return kind(folder, patch)


def told_once(err: str, reason: str) -> bool:
    text = " ".join(err.split())
    return text.count("Warning: ") == 1 and reason in text and "export ERDE_CACHE=FOLDER" in text


def test_a_student_is_the_same_without_a_cache(
    folder_recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images and the teacher's logits are made anew, and one warning reports both."""
    line = ("run", folder_recipe, "--set", "distillation.teacher_cache.views=2", "--out")
    weights = "student/model.safetensors"
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "cache"))
    code, _, err = cli(*line, tmp_path / "with")
    assert (code, err.count("Warning")) == (0, 0), err
    for kind in KINDS:
        run = tmp_path / kind.__name__
        with monkeypatch.context() as patch:
            reason = without_cache(kind, tmp_path, patch)
            code, _, err = cli(*line, run)
        assert code == 0, err
        assert told_once(err, reason), err
        assert (run / weights).read_bytes() == (tmp_path / "with" / weights).read_bytes()


@pytest.mark.parametrize("kind", [no_home, a_file])
def test_stages_are_exported_for_one_command(
    kind: Prepare, finished_run: Path, digit_files: Path, tmp_path: Path, cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pytest.importorskip("onnxruntime")
    reason = without_cache(kind, tmp_path, monkeypatch)
    line = ("predict", finished_run / "student", digit_files / "0/000.png", "--runtime", "onnx")
    code, out, err = cli(*line)
    assert code == 0, err
    assert told_once(err, reason), err
    assert "000.png" in out


def test_a_data_set_to_be_downloaded_needs_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Cli
) -> None:
    for name in ("ERDE_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    no_home(tmp_path, monkeypatch)
    with pytest.raises(DataError) as caught:
        data_root()
    assert "export ERDE_DATA=FOLDER" in caught.value.hint
    code, _, err = cli("data", "fetch", "cifar10")
    assert (code, "export ERDE_DATA=FOLDER" in err) == (2, True), err


def test_a_cache_that_is_whole_needs_no_writing(
    folder_recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that lies on a disk that can only be read."""
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "cache"))
    views = ("--set", "distillation.teacher_cache.views=1", "--quiet")
    assert cli("run", folder_recipe, "--out", tmp_path / "one", *views)[0] == 0

    def refuse(name: str, _: object) -> None:
        raise AssertionError(f"{name} is written into")

    monkeypatch.setattr(cache, "writable_folder", refuse)
    monkeypatch.setattr(view_caches, "writable_folder", refuse)
    monkeypatch.setattr("erde_cli.core.images.image_cache.writable_folder", refuse)
    assert cli("run", folder_recipe, "--out", tmp_path / "two", *views)[0] == 0


def test_a_cache_that_may_not_be_looked_into_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As below a home that HOME still names once another user runs a container."""

    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setenv("ERDE_CACHE", str(tmp_path))
    assert cache.cache_folder("images") == tmp_path / "images"
    monkeypatch.setattr(Path, "exists", refuse)
    assert cache.cache_folder("images") is None
