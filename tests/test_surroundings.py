"""Streams, locales, warnings, Ctrl-C: a command starts, or ends with one message."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
ERDE = f"'{sys.executable}' -m erde_cli"
Done = tuple[int, str, str]


def typed(
    line: str, folder: Path, redirected: str = "", given: str = "", **environment: str
) -> Done:
    """Exit code, stdout and stderr of `erde LINE REDIRECTED` in a shell."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{ERDE} {line} {redirected}"], cwd=folder, input=given,
        env={**BUFFERED, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ["recipes", "recipes --json", "recipes show digits", "--help"])
def test_a_stdout_that_cannot_be_written_is_one_message(
    line: str, unbuffered: str, tmp_path: Path
) -> None:
    for place, reason in ((">/dev/full", "No space left"), (">&-", "Bad file descriptor")):
        code, out, err = typed(line, tmp_path, place, PYTHONUNBUFFERED=unbuffered)
        assert (code, out) == (1, "")
        assert err.startswith("Error: ")
        assert err.count("Error") == 1
        assert reason in err
        assert unbuffered or f"Cannot write to stdout: {reason}" in err


@pytest.mark.parametrize("line", ["recipes", "recipes --json", "--help", "recipes schema"])
def test_a_reader_that_goes_away_causes_no_message(line: str, tmp_path: Path) -> None:
    assert typed(line, tmp_path, "| head -0") == (1, "", "")
    assert typed(line, tmp_path, "2>&1 | head -0") == (1, "", "")


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_closed_stream_that_is_not_needed_does_not_matter(closed: str, tmp_path: Path) -> None:
    code, out, err = typed("recipes --json", tmp_path, closed)
    assert (code, err) == (0, "")
    assert json.loads(out)["recipes"]
    code, out, _ = typed("recipes shwo --json", tmp_path, closed)
    assert code == 2
    assert json.loads(out)["error"]["exit_code"] == 2


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_the_exit_code_is_right_without_open_streams(closed: str, tmp_path: Path) -> None:
    assert typed("recipes shwo --json", tmp_path, closed)[0] == 2


def test_files_do_not_get_the_numbers_of_closed_streams(
    finished_run: Path, digit_files: Path, tmp_path: Path
) -> None:
    """All streams are closed while processes decode and a file is written."""
    code = (
        "import sys; from erde_cli.core.images import decoders; decoders._PAYS_FROM = -1;"
        "from erde_cli.__main__ import main; sys.exit(main())"
    )
    (tmp_path / "erde.py").write_text(code)
    line = f"predict '{finished_run / 'student'}' '{digit_files}' --csv rows.csv --threads 1"
    shell = f"'{sys.executable}' '{tmp_path / 'erde.py'}' {line} <&- >&- 2>&-"
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, env=BUFFERED, check=False)
    assert done.returncode == 1  # the totals went nowhere
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert len(rows) == 1 + len(list(digit_files.rglob("*.png")))


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "xx_YY.bogus"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"},
        {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
def test_names_in_any_script_are_read_and_written_in_any_locale(
    environment: dict[str, str], finished_run: Path, digit_files: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished_run / "student", tmp_path / "Schüler")
    shutil.copy(digit_files / "0/000.png", tmp_path / "花 ß.png")
    code, out, err = typed("predict Schüler '花 ß.png' --csv Zeilen-ä.csv", tmp_path, **environment)
    assert code == 0, err
    rows = (tmp_path / "Zeilen-ä.csv").read_text(encoding="utf-8").splitlines()
    assert rows[1].startswith("花 ß.png,")
    code, out, err = typed("predict Schüler '花 ß.png'", tmp_path, **environment)
    assert code == 0, err
    assert ".png" in out
    code, out, err = typed("predict Schüler/gone *.png --json", tmp_path, **environment)
    assert (code, "Sch" in json.loads(out)["error"]["message"]) == (2, True)


def test_a_name_that_the_locale_cannot_encode_is_refused(
    folder_recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").rename(tmp_path / "Bilder-ä")
    recipe = folder_recipe.read_text().replace("images", "Bilder-ä")
    folder_recipe.write_text(recipe, encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, _, err = typed("run folder.yaml --out out", tmp_path, **ascii_only)
    assert code == 2
    assert "data.root = 'Bilder-?': is not a usable path ('ascii' codec" in err


@pytest.mark.parametrize("command", ["profile", "evaluate"])
def test_warnings_as_errors_end_no_command(
    command: str, finished_run: Path, tmp_path: Path
) -> None:
    """Libraries warn while they are imported, and while a network is traced."""
    shutil.copytree(finished_run / "student", tmp_path / "student")
    code, _, err = typed(f"{command} student", tmp_path, PYTHONWARNINGS="error")
    assert code == 0, err


INTERRUPT = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
LOST = f"""
class Lost:
    def __del__(self):
        {INTERRUPT}
Lost()
import time
time.sleep(5)
"""
TURNED = f"""
try:
    {INTERRUPT}
    for _ in range(1000000): pass
except KeyboardInterrupt:
    raise ImportError("numpy failed to import")
"""


@pytest.mark.parametrize("as_json", ["", "--json"])
@pytest.mark.parametrize(
    ("module", "content"),
    [("typer", INTERRUPT), ("rich", INTERRUPT), ("torch", INTERRUPT), ("torch", TURNED),
     ("typer", LOST), ("torch", LOST)],
)  # fmt: skip
def test_ctrl_c_during_imports_is_one_message(
    module: str, content: str, as_json: str, finished_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / f"{module}.py").write_text(content)
    path = os.pathsep.join([str(tmp_path / "modules"), str(Path(__file__).parents[1])])
    line = f"profile '{finished_run / 'student'}' {as_json}"
    code, out, err = typed(line, tmp_path, PYTHONPATH=path)
    assert (code, err) == (130, "Error: Stopped.\n")
    assert not as_json or json.loads(out)["error"]["type"] == "Stopped"
