"""The JSON Schema that editors use accepts what erde accepts, key by key."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from erde_cli.core.recipe.reference import json_schema
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.shipped import shipped_recipes
from erde_cli.core.recipe.yaml_text import parse_yaml
from tests.conftest import TINY

Changed = Callable[[dict[str, Any]], Recipe]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(json_schema())
    return Draft202012Validator(json_schema())


def test_the_schema_next_to_the_recipes_is_current() -> None:
    path = shipped_recipes()[0].path.parent / "recipe.schema.json"
    assert json.loads(path.read_text("utf-8")) == json_schema(), "write it again with: make docs"


def test_it_accepts_every_shipped_recipe_and_the_smallest(validator: Draft202012Validator) -> None:
    texts = [shipped.text for shipped in shipped_recipes()]
    assert len(texts) == 10
    for text in [*texts, TINY]:
        assert list(validator.iter_errors(parse_yaml(text, "a recipe"))) == []


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("data.image_sise", 32),
        ("optimiser", "sgd"),
        ("data.dataset", "cifar"),
        ("teacher.backbone", "lenet"),
        ("teacher.exits", "three"),
        ("student.width", 0),
        ("training.teacher.epochs", "many"),
        ("training.student.schedule", "steps"),
        ("distillation.weights.entropy", -1),
        ("calibration.max_macs", 2),
    ],
)
def test_it_refuses_what_no_recipe_may_hold(
    validator: Draft202012Validator, dotted: str, value: object
) -> None:
    document = parse_yaml(TINY, "a recipe")
    *sections, key = dotted.split(".")
    inner = document
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[key] = value
    assert len(list(validator.iter_errors(document))) == 1


@pytest.mark.parametrize("section", ["data", "teacher", "student", "training"])
def test_it_asks_for_the_sections_that_have_no_default(
    validator: Draft202012Validator, section: str
) -> None:
    document = parse_yaml(TINY, "a recipe")
    del document[section]
    [error] = validator.iter_errors(document)
    assert section in error.message
    assert "name" not in json_schema()["required"]


def test_every_key_is_described() -> None:
    definitions = [json_schema(), *json_schema()["$defs"].values()]
    keys = [
        (name, key)
        for definition in definitions
        for name, key in definition.get("properties", {}).items()
        if "$ref" not in key
    ]
    assert len(keys) > 45
    assert [name for name, key in keys if not key.get("description")] == []
