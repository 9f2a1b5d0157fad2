"""Which keys of a recipe decide a network, and which make it another recipe."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError, create_model

from erde_cli.core import provenance
from erde_cli.core.events import Role
from erde_cli.core.recipe.inputs import WHEREABOUTS, comparable, inputs_digest
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.recipe.sections.base import Section
from erde_cli.core.storage.json_files import digest_of

# Digest of the defaults of all keys that decide a network. Where a new key changes it, note the new
# digest. Where a default is changed, raise `_VERSION` in `inputs.py` as well.
DEFAULTS = "d4d1761ec311dcc65c6dd682ef1b60690b6eb1544f515ba63a6f2e292cefb8dc"
# Values that one key or another accepts.
CANDIDATES = (
    True, False, 1, 2, 9, 15, 64, 0.25, 0.75, 99.5, "text", "balanced", [0.25], [1, 2], {"a": 1.0},
)  # fmt: skip


def recipe(**sections: dict[str, Any]) -> Recipe:
    document: dict[str, Any] = {
        "name": "a",
        "data": {"dataset": "digits", "image_size": 16},
        "teacher": {"depth": 8, "width": 2, "exits": 2},
        "student": {"depth": 8, "width": 1, "exits": 2},
        "training": {"teacher": {"epochs": 1}, "student": {"epochs": 1}},
    }
    for name, section in sections.items():
        document[name] = {**document.get(name, {}), **section}
    return Recipe.model_validate(document)


def folder(**data: Any) -> Recipe:
    return recipe(data={"dataset": "imagefolder", "root": "images", **data})


def digest(made: Recipe, role: Role = "teacher") -> str:
    return inputs_digest(made, role, "images")


def keys(section: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all keys that are no section, in a recipe's own order."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from keys(value, (*path, name))
        else:
            yield (*path, name)


def with_value(section: Any, path: tuple[str, ...], value: object) -> Any:
    """A section with another value of one key; rules between keys are not checked."""
    name, *rest = path
    inner = with_value(getattr(section, name), tuple(rest), value) if rest else value
    return section.model_copy(update={name: inner})


def field_of(path: tuple[str, ...]) -> Any:
    model: Any = Recipe
    for name in path[:-1]:
        model = model.model_fields[name].annotation
    return model.model_fields[path[-1]]


def other_values(path: tuple[str, ...], value: object) -> list[Any]:
    """Values that a key accepts, other than the one it has."""
    field = field_of(path)
    alone: Any = create_model("Alone", __base__=Section, key=(field.annotation, field))
    others = []
    for candidate in (*CANDIDATES, *literals(field.annotation)):
        with suppress(ValidationError):
            others.append(alone(key=candidate).key)
    return [other for other in others if other != value]


def literals(annotation: object) -> Iterator[object]:
    for inner in get_args(annotation):
        yield inner
        yield from literals(inner)


def decides(path: tuple[str, ...], role: Role) -> bool:
    """Whether a key decides the network of a role."""
    if path[0] == "training":
        return path[1] == role
    if path[0] == "data":
        return path[1] not in WHEREABOUTS
    return path[0] in ("seed", role) or (path[0], role) == ("distillation", "student")


# Tested elsewhere: students of a comparison decide nothing; of weights the content decides.
KEYS = [path for path in keys(recipe()) if path[0] != "comparison" and path[-1] != "weights"]


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_another_value_of_a_key_changes_the_digests_of_the_networks_that_it_decides(
    path: tuple[str, ...],
) -> None:
    plain: Any = recipe()
    value = plain
    for name in path:
        value = getattr(value, name)
    others = other_values(path, value)
    assert others
    for other in others:
        made = with_value(plain, path, other)
        for role in ROLES:
            same = other == "first" or (path[-1], other) == ("views", 1)  # as null
            expected = decides(path, role) and not (same and path[0] != "distillation")
            assert (digest(made, role) != digest(plain, role)) == expected, other


@pytest.mark.parametrize("made", [recipe(), folder()])
def test_a_key_at_its_default_changes_no_digest(made: Recipe) -> None:
    """So neither does a new key, nor a whole number where a fraction may stand."""
    full = made.model_dump()
    full["student"]["dropout"], full["teacher"]["dropout"] = 0.0, 0
    for role in ROLES:
        assert digest(Recipe.model_validate(full), role) == digest(made, role)


def test_a_changed_default_is_noticed() -> None:
    defaults = {
        ".".join(path): field_of(path).default
        for path in KEYS
        if any(decides(path, role) for role in ROLES) and not field_of(path).is_required()
    }
    assert digest_of(defaults) == DEFAULTS


def test_the_teacher_of_a_student_changes_its_digest() -> None:
    made = {inputs_digest(recipe(), "student", "images", teacher) for teacher in (None, "a", "b")}
    assert len({*made, inputs_digest(recipe(), "student", "others")}) == 4


@pytest.mark.parametrize("more", [{"bit_depth": 16}, {"frames": "first"}, {"crop_share": 0.875}])
def test_a_value_that_null_stands_for_changes_nothing(more: dict[str, Any]) -> None:
    plain = {"resize": "crop"} if "crop_share" in more else {}
    assert digest(folder(**plain, **more)) == digest(folder(**plain))
    assert comparable(folder(**plain, **more)) == comparable(folder(**plain))


CROP = {"augmentation": {"crop": 0, "resized_crop": 0.35}}
HEADS = {"epochs": 2, "train": "heads"}
# A recipe, and keys that change nothing: null stands for their values.
SAME = [
    ({"data": CROP}, {"data": {"photo_size": 18}}),  # 8/7 of 16
    ({}, {"student": {"image_size": 16}}),
    ({}, {"training": {"teacher": {"epochs": 1, "heads_first": 0}}}),
    ({}, {"training": {"student": {"epochs": 1, "heads_first": 0}}}),
    ({"training": {"teacher": HEADS}}, {"training": {"teacher": {**HEADS, "views": 1}}}),
    ({"training": {"student": HEADS}}, {"training": {"student": {**HEADS, "views": 1}}}),
    ({"training": {"student": HEADS}}, {"distillation": {"teacher_cache": {"views": 1}}}),
]
LIBRARY = {"backbone": "torchvision/resnet18", "exits": 2, "pretrained": True}


def pretrained(*more: dict[str, Any]) -> Recipe:
    """A recipe on a folder whose networks have weights; later sections add to earlier ones."""
    training = {"teacher": {"epochs": 1}, "student": {"epochs": 1}}
    made: dict[str, Any] = {
        "name": "a",
        "data": {"dataset": "imagefolder", "root": "images", "image_size": 16},
        "teacher": LIBRARY,
        "student": LIBRARY,
        "training": training,
    }
    for sections in more:
        for name, section in sections.items():
            made[name] = {**made.get(name, {}), **section}
    return Recipe.model_validate(made)


@pytest.mark.parametrize(("plain", "more"), SAME)
def test_recipes_that_mean_the_same_have_the_same_digests(
    plain: dict[str, Any], more: dict[str, Any]
) -> None:
    written, unwritten = pretrained(plain, more), pretrained(plain)
    for role in ROLES:
        assert digest(written, role) == digest(unwritten, role)
    assert comparable(written) == comparable(unwritten)


@pytest.mark.parametrize(
    ("plain", "more"),
    [
        ({"data": CROP}, {"data": {"photo_size": 19}}),
        ({}, {"student": {"image_size": 15}}),
        ({"training": {"student": HEADS}}, {"training": {"student": {**HEADS, "views": 2}}}),
        (
            {"training": {"student": {"epochs": 2}}},
            {"training": {"student": {"epochs": 2, "heads_first": 1}}},
        ),
    ],
)
def test_other_values_of_these_keys_make_another_network(
    plain: dict[str, Any], more: dict[str, Any]
) -> None:
    written, unwritten = pretrained(plain, more), pretrained(plain)
    assert digest(written, "student") != digest(unwritten, "student")
    assert comparable(written) != comparable(unwritten)


FRESH = {"teacher": {"backbone": "torchvision/resnet18", "exits": 2, "pretrained": False}}
CIFAR = {
    role: {"backbone": "resnet", "depth": 8, "exits": 2, "pretrained": False} for role in ROLES
}
OF_TORCHVISION = [
    ({}, ("teacher", "student")),
    ({**CIFAR, **FRESH}, ("teacher",)),
    ({**CIFAR, "data": CROP}, ("teacher", "student")),
    ({**CIFAR, "data": {"augmentation": {"trivial_augment": True}}}, ("teacher", "student")),
    (CIFAR, ()),
]


@pytest.mark.parametrize(("sections", "roles"), OF_TORCHVISION)
def test_another_torchvision_trains_networks_again_whose_bytes_it_decides(
    sections: dict[str, Any], roles: tuple[Role, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pretrained(sections)
    before = {role: digest(made, role) for role in ROLES}
    installed = provenance.version
    monkeypatch.setattr(
        provenance, "version", lambda name: "0" if name == "torchvision" else installed(name)
    )
    assert tuple(role for role in ROLES if digest(made, role) != before[role]) == roles


@pytest.mark.parametrize("more", [{"bit_depth": 12}, {"frames": "refuse"}, {"resize": "crop"}])
def test_every_other_value_makes_another_recipe(more: dict[str, Any]) -> None:
    assert comparable(folder(**more)) != comparable(folder())


def test_another_metric_is_another_recipe_and_trains_the_same_networks() -> None:
    plain, other = (
        recipe(calibration={"max_drop": 1.0, "metric": metric})
        for metric in ("accuracy", "balanced_accuracy")
    )
    assert comparable(plain) != comparable(other)
    assert [digest(plain, role) for role in ROLES] == [digest(other, role) for role in ROLES]
