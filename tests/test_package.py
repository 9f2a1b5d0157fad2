"""The front door: what is installed, what starts quickly, what stands where."""

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from erde_cli.app import app

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "pydantic", "numpy", "matplotlib", "sklearn", "fvcore")
COMMANDS = (
    "run",
    "init",
    "plan",
    "train-teacher",
    "distill",
    "calibrate",
    "profile",
    "evaluate",
    "predict",
    "export",
    "tune",
    "compare",
    "recipes",
    "data",
)


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def mounted(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all commands and groups that the live command line has."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from mounted(inner, (*path, name))


def answer(*arguments: str) -> tuple[int, list[str], str]:
    """Exit code, heavy modules imported, and everything shown, in a process of its own."""
    code = (
        "import sys; from erde_cli.app import main; code = main(sys.argv[1:]);"
        f"print('LOADED', code, *[m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    shown, _, last = done.stdout.rpartition("LOADED ")
    exit_code, *loaded = last.split()
    return int(exit_code), loaded, shown + done.stderr


PATHS = list(mounted(typer.main.get_command(app)))


def test_every_command_is_covered() -> None:
    assert {path[0] for path in PATHS if path} == set(COMMANDS)
    assert {("data", "fetch"), ("recipes", "show"), ("recipes", "schema")} < set(PATHS)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_imports_nothing_heavy_and_gives_an_example(path: tuple[str, ...]) -> None:
    code, loaded, shown = answer(*path, "--help")
    assert (code, loaded) == (0, []), shown
    assert "Usage: " + " ".join(("erde", *path)) in shown
    if path:
        assert "Example:" in shown or path == ("recipes", "schema")


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_a_wrong_option_imports_nothing_heavy(path: tuple[str, ...]) -> None:
    code, loaded, shown = answer(*path, "--frobnicate")
    assert (code, loaded) == (2, []), shown
    assert "--frobnicate" in shown
    assert " ".join(("erde", *path, "--help")) in shown


@pytest.mark.parametrize(
    "line",
    [
        "distil",
        "data fetsh",
        "recipes sho",
        "data fetch",
        "recipes show",
        "calibrate",
        "calibrate runs/x",
        "calibrate runs/x --max-drop 1 --max-macs 0.5",
        "calibrate runs/x --max-drop -1",
        "calibrate runs/x --threshold often",
        "calibrate runs/x --max-risk 0.1 --metric balanced_accuracy",
        "run",
        "run digits --seed many",
        "run digits --seed -1",
        "run digits --threads 0",
        "run digits --device toaster",
        "evaluate runs/x --split validation",
        "evaluate runs/x --precision float16",
        "profile runs/x --latency --batch 1,many",
        "profile runs/x --latency --repeats 1",
        "profile runs/x --batch 1",
        "profile runs/x --runtime onnx",
        "profile runs/x --latency --runtime onnx --device cuda",
        "predict runs/x",
        "predict runs/x a.png --threshold often",
        "predict runs/x a.png --pick max-macs",
        "predict runs/x a.png --pick max-macs=0.4 --threshold 0.5",
        "predict runs/x a.png --batch 0",
        "predict runs/x a.png --runtime jax",
        "predict runs/x a.png --runtime onnx --device cuda",
        "predict x.onnx a.png --runtime torch",
        "predict x.pt2 a.png",
        "predict runs/x a.png --csv no/such/folder/rows.csv",
        "predict runs/x a.png --csv - --json",
        "predict runs/x a.png --live",
        "export runs/x",
        "export runs/x --format onnx",
        "export runs/x --format tflite --out x",
        "export runs/x --format torch-export --out x.onnx",
        "export runs/x --format onnx --out x.onnx --data no/such/folder",
        "export runs/x --format onnx --int8 --out x.onnx",
        "export runs/x --format torch-export --int8 --out x.pt2",
        "tune digits --role pupil",
        "tune digits --threads 1,many",
        "tune digits --repeats 1",
        "compare digits --seeds 0",
    ],
)
def test_a_wrong_command_line_imports_nothing_heavy(line: str) -> None:
    code, loaded, shown = answer(*line.split())
    assert (code, loaded) == (2, []), shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    "line",
    [
        "run nowhere.yaml",
        "tune digits --set training.teacher.lr=1",
        "compare digits --methods erde,sgd",
        "compare digits --grid distillation.temperature=2,-1",
    ],
)
def test_a_wrong_recipe_is_told_before_torch_is_imported(line: str) -> None:
    code, loaded, shown = answer(*line.split())
    assert (code, "torch" in loaded) == (2, False), shown


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


def test_onnx_runtime_leaves_no_identifier_and_tells_nobody(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    subprocess.run(
        [sys.executable, "-c", "import erde_cli.core.export.onnx_runtime"],
        env={"HOME": str(tmp_path), "PATH": ""},
        cwd=ROOT,
        check=True,
    )
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]


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


PACKAGES = sorted((ROOT / "erde_cli").rglob("*/__init__.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("init", PACKAGES, ids=relative)
def test_a_package_says_in_three_lines_what_it_holds_and_imports_nothing(init: Path) -> None:
    """Or `--help` would load whatever a package gathers."""
    tree = ast.parse(init.read_text())
    [docstring] = tree.body
    assert isinstance(docstring, ast.Expr)
    lines = [line for line in (ast.get_docstring(tree) or "").splitlines() if line]
    assert len(lines) == 3, lines
    assert lines[1].startswith("May import")
    named = re.findall(r"`([\w/]+\.py)`", lines[2])
    assert named
    assert all((init.parent / name).is_file() for name in named), named


def test_the_core_has_packages_and_few_modules_beside_them() -> None:
    modules = [path.stem for path in (ROOT / "erde_cli/core").glob("*.py")]
    assert len(modules) - 1 <= 9, modules


def test_the_files_that_a_change_touches_are_there() -> None:
    page = (
        (ROOT / "CONTRIBUTING.md").read_text().partition("## How to add")[2].partition("\n## ")[0]
    )
    named = set(re.findall(r"`([\w./]+/[\w.]+|[A-Z]+\.md|pyproject\.toml)`", page))
    files = {name for name in named if "NAME" not in name}
    assert len(files) > 25, files
    assert [name for name in sorted(files) if not (ROOT / name).is_file()] == []


def test_the_tests_lie_as_the_packages_do() -> None:
    """Every folder of tests/core stands for a package."""
    core = ROOT / "erde_cli/core"
    folders = {path.name for path in (ROOT / "tests/core").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} <= {path.name for path in core.iterdir() if path.is_dir()}


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
