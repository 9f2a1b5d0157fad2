"""What decides a network: a recipe from before a key means what it meant then."""

from typing import Any

import pytest

from erde_cli.core.recipe.inputs import inputs_digest, relevant
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.workflows.journal import _comparable

KEYS = {"transparent", "bit_depth", "frames"}


# Digests of "images" by version 1, before recipes had class weights: teacher's, student's.
DIGITS = (
    "833c30024fd69327f648b074d82f569d834d35bdc98e3f47e562d48949c11854",
    "e9ba05d5fecf2241d2c6baef6c75156efbd413e02c7374af26ccb7898198832a",
)
FOLDER = (
    "b63d5938a1d82f29e1f993e97bea4114d90d2e0f13fabc6e1aaf498d8c119e08",
    "191982cadfd4ec78db436c0abe7567af4699bdcded6090e4961ea93386f6e8f2",
)
WEIGHTS = ["none", "balanced", {"a": 1, "b": 2}, {"a": 1, "b": 3}]


def recipe(teacher: Any = "none", student: Any = "none", **data: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "a",
            "data": {"image_size": 16, **data},
            "teacher": {"depth": 8, "width": 2, "exits": 2},
            "student": {"depth": 8, "width": 1, "exits": 2},
            "training": {
                "teacher": {"epochs": 1, "class_weights": teacher},
                "student": {"epochs": 1, "class_weights": student},
            },
        }
    )


def folder(**data: Any) -> Recipe:
    return recipe(dataset="imagefolder", root="images", **data)


def as_trained_before(section: dict[str, Any], *, added: bool) -> dict[str, Any]:
    """The section `distillation` from when `teacher_wrong` said what `form` says."""
    kept = {key: section[key] for key in section if key not in ("form", "unsure_above")}
    return {**kept, "teacher_wrong": {"cross_entropy": added, "distillation": added}}


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


@pytest.mark.parametrize(
    ("made", "before"), [(recipe(dataset="digits"), DIGITS), (folder(), FOLDER)]
)
def test_a_recipe_has_the_digests_it_had_before_its_later_keys(
    made: Recipe, before: tuple[str, str]
) -> None:
    """One that fails for a new key: add the key, and what it was before, in `phases`."""
    assert tuple(inputs_digest(made, role, "images") for role in ("teacher", "student")) == before


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_other_class_weights_change_the_digest_of_their_own_role(role: str) -> None:
    other = {"teacher": "student", "student": "teacher"}[role]
    made = [recipe(dataset="digits", **{role: weights}) for weights in WEIGHTS]
    assert len({inputs_digest(one, role, "images") for one in made}) == len(WEIGHTS)
    assert len({inputs_digest(one, other, "images") for one in made}) == 1


def test_a_recipe_from_before_a_key_is_the_same_recipe() -> None:
    old = recipe(dataset="digits").model_dump()
    for role in ("teacher", "student"):
        del old["training"][role]["class_weights"]
    del old["calibration"]["metric"]
    old["distillation"] = as_trained_before(old["distillation"], added=False)
    assert _comparable(old) == _comparable(recipe(dataset="digits").model_dump())
    changed = recipe(dataset="digits", student="balanced").model_dump()
    assert _comparable(old) != _comparable(changed)


def test_another_metric_is_another_recipe_and_trains_the_same_networks() -> None:
    old = recipe(dataset="digits")
    settings = old.calibration.model_copy(update={"metric": "balanced_accuracy"})
    other = old.model_copy(update={"calibration": settings})
    assert _comparable(old.model_dump()) != _comparable(other.model_dump())
    for role in ("teacher", "student"):
        assert inputs_digest(old, role, "images") == inputs_digest(other, role, "images")


def with_loss(**changes: Any) -> Recipe:
    made = recipe(dataset="digits")
    return made.model_copy(update={"distillation": made.distillation.model_copy(update=changes)})


def test_a_recipe_that_kept_both_terms_is_one_of_the_form_add() -> None:
    """The digest is that of a recipe with teacher_wrong: {cross_entropy: true, ...: true}."""
    added = with_loss(form="add")
    old = added.model_dump()
    old["distillation"] = as_trained_before(old["distillation"], added=True)
    assert _comparable(old) == _comparable(added.model_dump())
    assert relevant(added, "student")["distillation"] == old["distillation"]
    assert inputs_digest(added, "student", "images") != DIGITS[1]


def test_of_the_unsure_the_share_is_told_where_it_is_used_or_changed() -> None:
    plain, unsure, other = (
        with_loss(entropy_on=mode, unsure_above=share)
        for mode, share in [
            ("teacher_wrong", 0.5), ("teacher_wrong_or_unsure", 0.5),
            ("teacher_wrong_or_unsure", 0.6),
        ]
    )  # fmt: skip
    digests = {inputs_digest(one, "student", "images") for one in (plain, unsure, other)}
    assert len(digests) == 3
