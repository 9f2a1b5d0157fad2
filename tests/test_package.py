"""The front door: what is installed, what starts quickly, what stands where."""

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from erde_cli.app import app

from .bad_input import test_flags, test_set

ROOT = Path(__file__).parents[1]
TRACKERS = {"tensorboard", "mlflow", "wandb"}
HEAVY = {"torch", "torchvision", "pydantic", "numpy", "matplotlib", "sklearn", "fvcore", *TRACKERS}
Answer = tuple[int, list[str], str]
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
    "report",
    "backbones",
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


CHILD = f"""
import contextlib, io, json, sys
from erde_cli.app import main
for line in sys.stdin:
    before, output = set(sys.modules), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = main(json.loads(line))
    print(json.dumps([code, sorted({HEAVY} & (sys.modules.keys() - before)), output.getvalue()]))
"""


def typed_in_one_child(lines: Iterable[Sequence[str]], folder: Path) -> list[tuple[str, Answer]]:
    """Each command line with its exit code, the heavy modules that it imported, and its output."""
    lines = [list(line) for line in lines]
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input="".join(f"{json.dumps(line)}\n" for line in lines),
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    answers = [tuple(json.loads(answer)) for answer in done.stdout.splitlines()]
    return list(zip(map(" ".join, lines), answers, strict=True))


PATHS = list(mounted(typer.main.get_command(app)))


def test_every_command_is_covered() -> None:
    assert {path[0] for path in PATHS if path} == set(COMMANDS)
    assert {("data", "fetch"), ("recipes", "show"), ("recipes", "schema")} < set(PATHS)


def test_help_imports_nothing_heavy_and_gives_an_example(tmp_path: Path) -> None:
    lines = ([*path, "--help"] for path in PATHS)
    for line, (code, imported, output) in typed_in_one_child(lines, tmp_path):
        assert (code, imported) == (0, []), (line, output)
        assert "Usage: " + f"erde {line}".removesuffix(" --help") in output, line
        assert "Example:" in output or line in ("--help", "recipes schema --help"), line


def test_a_wrong_option_imports_nothing_heavy(tmp_path: Path) -> None:
    lines = ([*path, "--frobnicate"] for path in PATHS)
    for line, (code, imported, output) in typed_in_one_child(lines, tmp_path):
        assert (code, imported) == (2, []), (line, output)
        assert "--frobnicate" in output, line
        assert f"erde {line}".replace("--frobnicate", "--help") in output, line


def test_a_wrong_command_line_imports_nothing_heavy(tmp_path: Path) -> None:
    lines = [case.arguments for case in test_flags.REFUSED_AT_ONCE]
    assert len(lines) > 150
    for line, (code, imported, output) in typed_in_one_child(lines, tmp_path):
        assert (code, imported) == (2, []), (line, output)


def test_a_wrong_recipe_is_reported_before_torch_is_imported(tmp_path: Path) -> None:
    cases = [*test_flags.REFUSED_BY_THE_RECIPE, *test_set.CASES]
    lines = [case.arguments for case in cases if case.arguments[0] != "distill"]
    assert len(lines) > 50
    for line, (code, imported, output) in typed_in_one_child(lines, tmp_path):
        assert (code, set(imported) <= {"pydantic"}) == (2, True), (line[:200], output[:2000])


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


def test_the_wheel_holds_the_recipes_and_the_parts_of_the_page(tmp_path: Path) -> None:
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
    for name in ("page.css", "page.js"):
        file = Path("erde_cli/core/report/page", name)
        assert (installed / file).read_bytes() == (ROOT / file).read_bytes()
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
    texts = [name for name in listed if not name.endswith((".png", ".safetensors", ".svg"))]
    assert len(texts) > 50
    for name in texts:
        for line in (ROOT / name).read_text().splitlines():
            assert not pattern.search(line) or "pattern" in line, (name, line)
