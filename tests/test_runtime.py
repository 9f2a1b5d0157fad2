"""`erde_cli.runtime` and `erde` where only numpy, Pillow and ONNX Runtime are installed."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks import cpp
from erde_cli.runtime import open_model

from .core.runner.exports import PIXELS, write_exports

ROOT = Path(__file__).parent.parent
# As if nothing else were installed. What is imported already belongs to Python's own start.
BLOCKED = """
import sys
allowed = {"erde_cli", "numpy", "PIL", "onnxruntime", *sys.stdlib_module_names}
allowed |= {name.partition(".")[0] for name in sys.modules}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""
PREDICT = """
import json, sys
from dataclasses import asdict
from erde_cli.runtime import open_model
for path in sys.argv[1:3]:
    rows = open_model(path, threads=1).predict(sys.argv[3:])
    print(json.dumps([asdict(row) for row in rows]))
"""


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """An export in both forms, and an image."""
    folder = tmp_path_factory.mktemp("exports")
    write_exports(folder)
    Image.fromarray(PIXELS[0]).resize((31, 20)).save(folder / "a.jpg")
    return [str(folder / name) for name in ("one.onnx", "stages", "a.jpg")]


def output_of(command: Sequence[str | Path], **changed: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **changed}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def expected_rows(exports: list[str]) -> list[list[dict[str, Any]]]:
    return [[vars(row) for row in open_model(path).predict(exports[2])] for path in exports[:2]]


def rows_of(done: subprocess.CompletedProcess[str]) -> list[list[dict[str, Any]]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_runner_imports_numpy_pillow_and_onnx_runtime_alone(exports: list[str]) -> None:
    done = output_of([sys.executable, "-c", BLOCKED + PREDICT, *exports])
    assert rows_of(done) == expected_rows(exports)


@pytest.mark.parametrize(
    ("blocked", "line"), [("typer", ["--help"]), ("torch", ["profile", "nowhere", "--json"])]
)
def test_erde_names_the_packages_that_are_missing(blocked: str, line: list[str]) -> None:
    code = (
        "import sys, importlib.metadata as m; real = m.version\n"
        "def version(name):\n"
        f"    if name in {{{blocked!r}, 'fvcore'}}: raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        f"m.version = version; sys.modules[{blocked!r}] = None\n"
        f"sys.argv = ['erde', *{line!r}]\n"
        "from erde_cli.__main__ import main; sys.exit(main())"
    )
    done = output_of([sys.executable, "-c", code])
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: erde needs fvcore, {blocked}, which are not installed.")
    assert "pip install erde-cli" in done.stderr
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) == ("--json" in line)
    if done.stdout:
        assert json.loads(done.stdout)["error"]["exit_code"] == 2


def test_the_example_of_the_page_runs(
    exports: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(exports[0], "digits.onnx")
    Path("photos").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.open(exports[2]).save(Path("photos") / name)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/runtime.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/runtime.md", "exec"), names)  # noqa: S102
    assert blocks
    assert len(names["rows"]) == 2


def test_the_cpp_listing_is_found_and_skipped_without_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "session.Run" in cpp.listing()
    for more, reason in ((), "no --ort"), (("--ort", str(tmp_path)), "has no onnxruntime_cxx"):
        monkeypatch.setattr(sys, "argv", ["cpp", "BUNDLE", *more])
        cpp.main()
        assert re.match(f"Skipped: .*{reason}", capsys.readouterr().out)


@pytest.mark.slow
def test_an_installation_without_dependencies_runs_exports(
    exports: list[str], tmp_path: Path
) -> None:
    """`pip install --no-deps erde-cli` and three packages, in a fresh virtual environment."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True)
    [wheel] = tmp_path.glob("erde_cli-*.whl")
    venv.create(tmp_path / "fresh", symlinks=True)
    python = tmp_path / "fresh/bin/python"
    install = [*pip, "--python", str(python), "install"]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*install, *constraints, "numpy", "pillow", "onnxruntime"], check=True)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)
    done = output_of([python, "-c", PREDICT, *exports], PYTHONPATH="")
    assert rows_of(done) == expected_rows(exports)
    told = output_of([tmp_path / "fresh/bin/erde", "run", "digits"], PYTHONPATH="")
    assert (told.returncode, told.stdout) == (2, "")
    assert re.match(r"Error: erde needs fvcore, .*torch.*typer, which are not", told.stderr)
    assert "Traceback" not in told.stderr
    check = output_of([*pip[:3], "--python", str(python), "check"])
    assert "erde-cli" in check.stdout
    assert check.returncode == 1
