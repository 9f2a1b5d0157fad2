"""YAML as people mean it."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erde_cli.core.errors import RecipeError
from erde_cli.core.recipe.yaml_text import parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1e3", 1000.0),
        ("-2E-2", -0.02),
        ("+1e+3", 1000.0),
        ("1.5e-3", 1.5e-3),
        (".5", 0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("3", 3),
        ("true", True),
        ("~", None),
        ("", None),
        ('"3e-4"', "3e-4"),
        ("1e", "1e"),
        ("e3", "e3"),
        ("1.2.3", "1.2.3"),
        ("3e-4m", "3e-4m"),
        ("[1e-1, {a: 2e0}]", [0.1, {"a": 2.0}]),
        ("{no: 1, 1: no, ~: 2, 1.50: 3}", {"no": 1, "1": False, "~": 2, "1.50": 3}),
        ("{2001-01-01: 1, null: 2, 0x1F: 3}", {"2001-01-01": 1, "null": 2, "0x1F": 3}),
    ],
)
def test_a_number_is_what_looks_like_one(text: str, value: Any) -> None:
    parsed = parse_yaml(text, "mine.yaml")
    assert parsed == value
    assert type(parsed) is type(value)


def test_not_a_number_is_a_number_too() -> None:
    assert math.isnan(parse_yaml(".nan", "mine.yaml"))


@pytest.mark.parametrize(
    "text",
    [
        "? [1, 2]\n: 3",
        "? {a: 1}\n: 3",
        "!!map [1]",
        "!!timestamp soon",
        "!!bool perhaps",
        "!!int ''",
        "!!int '+'",
        "!!int many",
        "!!float ''",
        "!!binary '+'",
        "2001-99-99",
        pytest.param("- " * 5000, id="5000 dashes"),
    ],
)
def test_text_that_makes_no_value_is_a_problem_of_the_recipe(text: str) -> None:
    with pytest.raises(RecipeError, match=r"mine\.yaml.*not valid YAML"):
        parse_yaml(text, "mine.yaml")


def test_a_text_that_is_no_recipe_is_not_even_parsed() -> None:
    assert parse_yaml("x" * 200_000, "mine.yaml") == "x" * 200_000
    with pytest.raises(RecipeError, match="has 200,001 characters"):
        parse_yaml("x" * 200_001, "mine.yaml")


def parsed(text: str) -> Any:
    try:
        return parse_yaml(text, "mine.yaml")
    except RecipeError as error:
        return error


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.text(alphabet="abc12.e-+:,[]{}?!&*'\"#|>%@~<= \t\n", max_size=25))
def test_any_text_is_read_or_refused(text: str) -> None:
    result = parsed(text)
    if isinstance(result, RecipeError):
        assert [problem.file.startswith("mine.yaml") for problem in result.problems] == [True]
    else:
        assert isinstance(result, dict | list | str | int | float | None)
