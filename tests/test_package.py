"""The front door: what is installed, what starts quickly, what stands where."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "pydantic", "numpy", "matplotlib", "sklearn", "fvcore")
COMMANDS = (
    "run",
    "train-teacher",
    "distill",
    "calibrate",
    "profile",
    "evaluate",
    "tune",
    "recipes",
    "data",
)


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["", *COMMANDS, "data fetch", "recipes show"])
def test_help_imports_nothing_heavy_and_gives_an_example(command: str) -> None:
    arguments = [*command.split(), "--help"]
    code = (
        "import sys; from erde_cli.app import main; code = main(" + repr(arguments) + ");"
        f"print('LOADED', [m for m in {HEAVY} if m in sys.modules], code)"
    )
    done = python(code)
    assert "LOADED [] 0" in done.stdout, done.stdout + done.stderr
    assert "erde" in done.stdout
    if command:
        assert "Example:" in done.stdout


@pytest.mark.parametrize("arguments", [["distil"], ["run", "--frobnicate"], ["calibrate"]])
def test_a_wrong_command_line_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from erde_cli.app import main; code = main(" + repr(arguments) + ");"
        f"print('LOADED', [m for m in {HEAVY} if m in sys.modules], code)"
    )
    assert "LOADED [] 2" in python(code).stdout


def test_importing_the_package_is_light_and_its_names_are_there() -> None:
    done = python(
        "import sys, erde_cli; assert 'torch' not in sys.modules; print(dir(erde_cli));"
        "from erde_cli import load, ErdeError; assert 'torch' in sys.modules; print(load.__name__)"
    )
    assert "load_bundle" in done.stdout, done.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    import erde_cli

    with pytest.raises(AttributeError, match="nonsense"):
        erde_cli.nonsense  # noqa: B018


def test_python_m_and_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "erde_cli", "--version"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"erde \d+\.\d+\.\d+\n", done.stdout)


def test_the_wheel_holds_the_recipes_and_finds_them(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
            "--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(ROOT),
        ],
        check=True,
    )  # fmt: skip
    wheel = next(tmp_path.glob("erde_cli-*.whl"))
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    shipped = {path.name for path in (ROOT / "recipes").glob("*.yaml")}
    assert {path.name for path in (installed / "erde_cli/recipes").glob("*.yaml")} == shipped
    done = subprocess.run(
        [sys.executable, "-m", "erde_cli", "recipes", "--json"],
        env={"PYTHONPATH": str(installed), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(name.removesuffix(".yaml") in done.stdout for name in shipped)


def test_the_readme_names_the_two_commands_and_every_subcommand() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme
    for command in COMMANDS:
        assert f"erde {command}" in readme, command


def test_no_path_of_one_machine_is_in_the_repository() -> None:
    pattern = re.compile(r"(^|[^\w./-])/(work|root|home|tmp)/\w")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    texts = [name for name in listed if not name.endswith((".png", ".svg"))]
    assert len(texts) > 50
    for name in texts:
        for line in (ROOT / name).read_text().splitlines():
            assert not pattern.search(line) or "pattern" in line, (name, line)
