"""The exception tree: exit codes, the parts of a message, and the form for machines."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from erde_cli.core.errors import (
    BundleError,
    DataError,
    DownloadError,
    ErdeError,
    InputError,
    Problem,
    RecipeError,
    RunError,
    TrainingError,
    UnsupportedOperatorError,
)

PROBLEMS = [
    Problem("mine.yaml", "teacher.dept", "20", "unknown key", "teacher.depth"),
    Problem("command line", "seed", "-1", "must be 0 or more"),
    Problem("mine.yaml", "", "", "a recipe is a mapping"),
]


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (ErdeError, 1),
        (TrainingError, 1),
        (UnsupportedOperatorError, 1),
        (DownloadError, 1),
        (InputError, 2),
        (DataError, 2),
        (BundleError, 2),
        (RunError, 2),
    ],
)
def test_what_the_user_gave_ends_in_2_and_everything_else_in_1(
    kind: type[ErdeError], exit_code: int
) -> None:
    assert kind("no").exit_code == exit_code
    assert kind("no").to_json()["error"]["exit_code"] == exit_code


def test_a_wrong_recipe_is_an_input_error() -> None:
    error = RecipeError(PROBLEMS)
    assert isinstance(error, InputError)
    assert error.exit_code == 2


def test_one_except_clause_catches_every_error_of_erde() -> None:
    machine = [TrainingError, UnsupportedOperatorError, DownloadError]
    user = [DataError, BundleError, RunError, RecipeError]
    assert all(issubclass(kind, ErdeError) for kind in machine + user)
    assert not any(issubclass(kind, InputError) for kind in machine)
    assert all(issubclass(kind, InputError) for kind in user)


def test_a_message_says_what_was_got_what_was_expected_and_what_comes_next() -> None:
    error = DataError("No images.", got="an empty folder", expected="files", hint="add some")
    assert str(error).splitlines() == [
        "No images.",
        "  got:      an empty folder",
        "  expected: files",
        "  next:     add some",
    ]


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"got": "x"}, "  got:      x"),
        ({"expected": "x"}, "  expected: x"),
        ({"hint": "x"}, "  next:     x"),
    ],
)
def test_parts_that_are_not_given_take_no_line(parts: dict[str, str], line: str) -> None:
    assert str(ErdeError("No.", **parts)).splitlines() == ["No.", line]
    assert str(ErdeError("No.")) == "No."


def test_the_form_for_machines_is_json_with_every_part_apart() -> None:
    error = RunError("Another recipe.", got="a", expected="b", hint="c")
    assert json.loads(json.dumps(error.to_json())) == {
        "error": {
            "type": "RunError",
            "message": "Another recipe.",
            "got": "a",
            "expected": "b",
            "hint": "c",
            "exit_code": 2,
        }
    }


def test_a_recipe_error_tells_every_problem_in_a_line_of_its_own() -> None:
    lines = str(RecipeError(PROBLEMS, hint="see the docs")).splitlines()
    assert lines == [
        "The recipe has 3 problems:",
        "  mine.yaml: teacher.dept = 20: unknown key; did you mean teacher.depth?",
        "  command line: seed = -1: must be 0 or more",
        "  mine.yaml: (recipe): a recipe is a mapping",
        "  next:     see the docs",
    ]


def test_a_single_problem_is_not_counted_in_the_plural() -> None:
    assert str(RecipeError(PROBLEMS[:1])).startswith("The recipe has a problem:\n")


def test_a_recipe_error_gives_machines_one_object_a_problem() -> None:
    document = json.loads(json.dumps(RecipeError(PROBLEMS).to_json()))["error"]
    assert document["type"] == "RecipeError"
    assert document["exit_code"] == 2
    assert [problem["path"] for problem in document["problems"]] == ["teacher.dept", "seed", ""]
    assert document["problems"][0] == {
        "file": "mine.yaml",
        "path": "teacher.dept",
        "value": "20",
        "rule": "unknown key",
        "nearest": "teacher.depth",
    }


REFUSALS = {kind.__name__ for kind in (InputError, DataError, BundleError, RunError)}


def refusals() -> Iterator[tuple[str, set[str]]]:
    """Every place that refuses what the user gave, and what it says beside the message."""
    package = Path(__file__).parents[2] / "erde_cli"
    for path in sorted(package.rglob("*.py")):
        calls = (
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        )
        for call in calls:
            if getattr(call.func, "id", "") in REFUSALS:
                yield f"{path.name}:{call.lineno}", {one.arg or "" for one in call.keywords}


def test_every_refusal_says_what_was_expected_and_what_to_type_next() -> None:
    found = dict(refusals())
    assert len(found) > 100
    assert {place for place, says in found.items() if not {"expected", "hint"} <= says} == set()
