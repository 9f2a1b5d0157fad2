"""A small valid recipe, and ways to write and to break it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from erde_cli.core.errors import Problem, RecipeError
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.schema import Recipe

Document = dict[str, Any]

_DOCUMENT: Document = {
    "seed": 3,
    "data": {"dataset": "imagefolder", "root": "images", "image_size": 32},
    "teacher": {"depth": 20, "exits": [3, 6]},
    "student": {"depth": 8, "exits": [1, 2]},
    "training": {"teacher": {"epochs": 5}, "student": {"epochs": 5}},
    "calibration": {"max_drop": 1},
}


@pytest.fixture
def document() -> Document:
    """A small valid recipe as a new mapping for each test."""
    return copy.deepcopy(_DOCUMENT)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], str]:
    """Write a recipe, text or a document, and return its path."""

    def write_recipe(recipe: Any) -> str:
        path = tmp_path / "recipes" / "mine.yaml"
        path.parent.mkdir(exist_ok=True)
        text = recipe if isinstance(recipe, str) else yaml.safe_dump(recipe, sort_keys=False)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write_recipe


@pytest.fixture
def changed(document: Document, write: Callable[[Any], str]) -> Callable[..., Recipe]:
    """Load the small recipe with dotted keys changed in the file."""

    def load_changed(changes: dict[str, Any]) -> Recipe:
        for dotted, value in changes.items():
            *sections, key = dotted.split(".")
            inner = document
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[key] = value
        return load_recipe(write(document))

    return load_changed


@pytest.fixture
def problems() -> Callable[..., dict[str, Problem]]:
    """Load a recipe that is wrong; its problems by dotted path."""

    def load_wrong(reference: str, *overrides: str, seed: int | None = None) -> dict[str, Problem]:
        with pytest.raises(RecipeError) as caught:
            load_recipe(reference, overrides, seed=seed)
        assert all(str(problem) in str(caught.value) for problem in caught.value.problems)
        return {problem.path: problem for problem in caught.value.problems}

    return load_wrong
