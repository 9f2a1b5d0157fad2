"""TAB: the real entry, asked as shells ask it, by the variables of Typer's own scripts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from erde_cli.commands.completion import dataset_names, recipe_names
from erde_cli.core.data.published_files import PUBLISHED
from erde_cli.core.recipe.shipped import shipped_recipes

HEAVY = ("torch", "pydantic", "numpy")
ERDE = (
    "import sys, atexit; from erde_cli.__main__ import main;"
    f"atexit.register(lambda: sys.stderr.write(' '.join(m for m in {HEAVY} if m in sys.modules)));"
    "sys.exit(main())"
)
BUNDLES = [
    "runs/mine/student", "runs/mine/teacher", "runs/two-compare/seed-1/erde/student",
]  # fmt: skip
ODD = [
    "runs/$(touch pwned)/student", "runs/`touch pwned`/student", "runs/a b/student",
    "runs/it's/student", "runs/-x/student", "runs/new\nline/student", "runs/größe/student",
]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with bundles below `runs/`, some of them called what no shell should be given."""
    for bundle in [*BUNDLES, *ODD, "other/student"]:
        (tmp_path / bundle).mkdir(parents=True)
        (tmp_path / bundle / "bundle.json").touch()
    (tmp_path / "runs/mine/logs").mkdir()
    return tmp_path


def asked(here: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Exit code and stdout; nothing heavy is imported, nothing is made."""
    before = sorted(here.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", ERDE], env={**os.environ, **variables}, cwd=here,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert sorted(here.rglob("*")) == before
    return done.returncode, done.stdout.strip()


def in_bash(here: Path, line: str) -> list[str]:
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    code, shown = asked(here, {"_ERDE_COMPLETE": "complete_bash", **words})
    assert code == 0
    return shown.splitlines()


def in_zsh(here: Path, line: str) -> str:
    variables = {"_ERDE_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line}
    code, shown = asked(here, variables)
    assert code == 0
    return shown


def in_fish(here: Path, line: str) -> list[str] | None:
    """What fish offers; None where it is to complete files."""
    variables = {"_ERDE_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line}
    code, _ = asked(here, {**variables, "_TYPER_COMPLETE_FISH_ACTION": "is-args"})
    if code:
        return None
    code, shown = asked(here, {**variables, "_TYPER_COMPLETE_FISH_ACTION": "get-args"})
    assert code == 0
    return shown.splitlines()


def zsh_form(names: list[str]) -> str:
    return "_arguments '*: :((" + "\n".join(f'"{name}"' for name in names) + "))'"


@pytest.mark.parametrize("command", ["calibrate", "profile", "evaluate", "predict", "export"])
def test_bundles_below_runs_are_offered_by_plain_names_alone(here: Path, command: str) -> None:
    assert in_bash(here, f"erde {command} ") == BUNDLES


def test_every_shell_is_offered_the_same(here: Path) -> None:
    for line, names in (
        ("erde calibrate ", BUNDLES),
        ("erde calibrate runs/mine/s", BUNDLES[:1]),
        ("erde run ", recipe_names()),
        ("erde data fetch ", dataset_names()),
    ):
        assert in_bash(here, line) == names
        assert in_zsh(here, line) == zsh_form(names)
        assert in_fish(here, line) == names


@pytest.mark.parametrize("line", ["erde run pho", "erde predict ./", "erde predict runs/$(t"])
def test_where_no_name_begins_so_shells_complete_files(here: Path, line: str) -> None:
    assert in_bash(here, line) == []
    assert in_zsh(here, line) == "_files"
    assert in_fish(here, line) is None


@pytest.mark.parametrize(
    "command", ["run", "train-teacher", "distill", "tune", "compare", "recipes show"]
)
def test_shipped_recipes_are_offered(here: Path, command: str) -> None:
    assert in_bash(here, f"erde {command} dig") == ["digits"]


def test_the_names_are_those_that_the_commands_know() -> None:
    assert recipe_names() == [recipe.name for recipe in shipped_recipes()]
    assert sorted(dataset_names()) == sorted(PUBLISHED)


def test_where_there_are_no_runs_files_are_completed(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    assert in_zsh(tmp_path, "erde evaluate ") == "_files"


def test_an_option_that_shows_something_shows_nothing_to_a_shell(here: Path) -> None:
    assert in_bash(here, "erde --version data fet") == ["fetch"]
