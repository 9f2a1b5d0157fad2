"""A process that is started runs nothing of the folder it is started in."""

import subprocess
from pathlib import Path

import pytest

from erde_cli.core.platform.isolated import isolated_python


@pytest.mark.parametrize("module", ["json", "types", "re", "os", "erde_cli", "sitecustomize"])
def test_nothing_of_the_current_folder_or_the_environment_is_imported(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{module}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / f"{module}.py"))
    code = "import json, types, re, erde_cli; print(erde_cli.__file__)"
    command = isolated_python(code)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "erde_cli/__init__.py" in done.stdout
    assert not (tmp_path / "run").exists()


def test_an_empty_entry_of_the_path_is_the_current_folder_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend("")
    (tmp_path / "only_here.py").write_text("")
    command = isolated_python("import only_here")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "No module named 'only_here'" in done.stderr
