"""Nothing of the folder that the user is in is imported, whichever way erde is started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Modules that erde imports at some time, of Python, of its packages and of the packages of extras.
MODULES = (
    "json", "struct", "csv", "signal", "queue", "tempfile", "hashlib", "typing", "inspect",
    "dataclasses", "mmap", "concurrent", "locale", "typer", "rich", "yaml", "PIL", "numpy", "torch",
    "torchvision", "pydantic", "matplotlib", "scipy", "sklearn", "safetensors", "fvcore", "onnx",
    "onnxruntime", "erde_cli",
)  # fmt: skip
# Python has imported these before the first line of erde is reached, with `-m` from the folder.
BEFORE = ("types", "re", "warnings", "contextlib", "functools", "collections")
# As pip writes the script; all commands in one process.
SCRIPT = """
import sys
from erde_cli.__main__ import main
for line in LINES:
    sys.argv[1:] = line.split()
    assert main() == 0, line
"""
LINES = [
    "--version", "recipes", "predict student . --quiet", "evaluate student --quiet",
    "calibrate student --max-drop 1 --quiet", "profile student --latency --repeats 3 --batch 1 -q",
    "export student --format torch-export --out x.pt2 -q",
]  # fmt: skip


@pytest.fixture
def here(finished_run: Path, digit_files: Path, tmp_path: Path) -> Path:
    """A folder with images, a bundle, and a module of every name next to them."""
    folder = tmp_path / "here"
    shutil.copytree(finished_run / "student", folder / "student")
    shutil.copy(digit_files / "0/000.png", folder / "a.png")
    (folder / "matplotlibrc").write_text("text.usetex: True\n")
    return folder


def lay(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'run')!r}, 'a').write({name!r})")


def started(command: list[str], here: Path, **environment: str) -> None:
    """Run something there: it ends well, and no module of the folder has run."""
    # Coverage measures processes by what it imports as they start, before erde can look to it.
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith("COV")
    }
    done = subprocess.run(
        command, cwd=here, env={**kept, **environment}, capture_output=True, text=True, check=False
    )
    ran = here / "run"
    assert not ran.exists(), ran.read_text()
    assert done.returncode == 0, done.stderr


def test_no_command_of_the_script_imports_what_lies_next_to_the_images(here: Path) -> None:
    lay(here, MODULES + BEFORE)
    script = here.parent / "erde.py"
    script.write_text(SCRIPT.replace("LINES", repr(LINES)))
    started([sys.executable, str(script)], here)


@pytest.mark.parametrize("line", ["recipes", "profile student"])
def test_python_m_leaves_the_current_folder_out(line: str, here: Path) -> None:
    lay(here, MODULES[:-1])  # python -m erde_cli asks for an erde_cli in the current folder
    started([sys.executable, "-m", "erde_cli", *line.split()], here)


def test_an_empty_entry_of_the_path_is_left_out(here: Path) -> None:
    lay(here, MODULES[:-1])
    script = here.parent / "erde.py"
    script.write_text(SCRIPT.replace("LINES", repr(["recipes", "profile student"])))
    started([sys.executable, str(script)], here, PYTHONPATH=os.pathsep)
