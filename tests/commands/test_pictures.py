"""Results do not depend on their pictures: one that cannot be drawn is a warning."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from erde_cli.core.comparison import files as compare_files
from erde_cli.core.comparison.document import Results
from erde_cli.core.events import Observer
from erde_cli.core.storage import pictures as plots

from ..conftest import Cli


@pytest.fixture
def broken() -> Any:
    """A matplotlib that cannot be imported, until it is mended."""

    def fail() -> None:
        raise ImportError("its library is broken")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_import_matplotlib", fail)
        yield patch


COMMANDS = {  # options, its pictures, what else it writes or leaves
    "calibrate": (["--max-drop", "1"], ["frontier.png"], "thresholds.json"),
    "calibrate --pick": (["--pick", "max-macs=0.9"], ["frontier.png"], "thresholds.json"),
    "evaluate": (
        [], ["evaluation/test/tradeoff.png", "evaluation/test/confusion.png"],
        "evaluation/test/evaluation.json",
    ),
    "profile": (
        ["--latency", "--batch", "1", "--repeats", "3"], ["profile/profile.png"], "thresholds.json",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.usefixtures("broken")
def test_a_command_gives_its_results_and_names_no_picture(
    name: str, run_copy: Path, cli: Cli
) -> None:
    options, pictures, result = COMMANDS[name]
    student = run_copy / "student"
    before = (student / result).read_bytes()
    (student / result).touch()
    code, out, err = cli(name.split()[0], student, *options)
    assert code == 0, err
    assert err.count("Warning: ") == err.count("Cannot draw the figure") == len(pictures), err
    for picture in pictures:
        assert f"Cannot draw the figure {student / picture}: ImportError: its library is" in err
        assert not (student / picture).exists()
    assert "picture:" not in out
    assert ((student / result).read_bytes() == before) == (name in ("evaluate", "profile"))
    code, out, _ = cli(name.split()[0], student, *options, "--json")
    assert code == 0
    assert ".png" not in out
    if name == "profile":
        assert json.loads(out)["latency"]["picture"] is None


def test_a_run_is_whole_without_its_picture_and_is_not_evaluated_for_ever(
    tiny_recipe: Path, run_copy: Path, cli: Cli, broken: pytest.MonkeyPatch
) -> None:
    (run_copy / "report.json").unlink()
    code, out, err = cli("run", tiny_recipe, "--out", run_copy)
    assert code == 0, err
    assert err.count("Cannot draw the figure") == 4  # two of the teacher's and two of the student's
    assert "picture:" not in out
    assert (run_copy / "report.json").is_file()
    broken.undo()
    code, out, err = cli("run", tiny_recipe, "--out", run_copy)
    assert (code, err.count("kept")) == (0, 4), err
    assert f"erde evaluate {run_copy / 'student'}" in err
    assert "picture:" not in out
    assert cli("evaluate", run_copy / "student")[0] == 0
    code, out, _ = cli("run", tiny_recipe, "--out", run_copy)
    assert f"picture: {run_copy / 'student/evaluation/test/tradeoff.png'}" in out


@pytest.mark.usefixtures("broken")
def test_a_comparison_is_written_without_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    listener = Observer()
    monkeypatch.setattr(listener, "warning", told.append)
    for name in ("_csv", "markdown", "_picture"):
        monkeypatch.setattr(compare_files, name, lambda *given: "")
    found = SimpleNamespace(to_json=dict)
    compare_files.write_results(tmp_path, cast(Results, found), listener)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "results.csv", "results.json", "results.md",
    ]  # fmt: skip
    assert [name in text for name, text in zip(compare_files.PICTURES, told, strict=True)]
