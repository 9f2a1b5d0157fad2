"""What decides a network: a recipe from before a key means what it meant then."""

from typing import Any

import pytest

from erde_cli.core.recipe import Recipe
from erde_cli.core.workflows.phases import inputs_digest, relevant

KEYS = {"transparent", "bit_depth", "frames"}


def recipe(**data: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "a",
            "data": {"image_size": 16, **data},
            "teacher": {"depth": 8, "width": 2, "exits": 2},
            "student": {"depth": 8, "width": 1, "exits": 2},
            "training": {"teacher": {"epochs": 1}, "student": {"epochs": 1}},
        }
    )


def folder(**data: Any) -> Recipe:
    return recipe(dataset="imagefolder", root="images", **data)


def digest(made: Recipe) -> str:
    return inputs_digest(made, "teacher", "images")


@pytest.mark.parametrize("dataset", ["digits", "cifar10"])
def test_data_that_are_no_files_have_the_digests_they_had(dataset: str) -> None:
    assert not KEYS & set(relevant(recipe(dataset=dataset), "teacher")["data"])


def test_a_folder_read_as_before_has_the_digest_it_had() -> None:
    assert not KEYS & set(relevant(folder(transparent="ignore"), "teacher")["data"])


@pytest.mark.parametrize(
    "more", [{"transparent": "black"}, {"bit_depth": 12}, {"frames": "refuse"}, {}]
)
def test_what_changes_pixels_changes_the_digest(more: dict[str, Any]) -> None:
    others = [{}, {"transparent": "ignore"}, {"bit_depth": 14}]
    assert all(digest(folder(**more)) != digest(folder(**one)) for one in others if one != more)


@pytest.mark.parametrize("more", [{"bit_depth": 16}, {"frames": "first"}])
def test_what_only_settles_a_warning_changes_nothing(more: dict[str, Any]) -> None:
    assert digest(folder(**more)) == digest(folder())
