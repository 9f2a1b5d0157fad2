"""What holds of any recipe and any `--set`: it loads and means the same again, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from erde_cli.core.errors import InputError, RecipeError
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.schema import Recipe

YAMLISH = "abe1.9-+:,[]{}?!&*'\"#|>%@~<= \t\n\r\0\u2028\ufeffäß"
LINES = ["seed: 3", "data: {dataset: digits}", "teacher: {depth: 14}", "student:", "  depth: 8",
         "training:", "  teacher: {epochs: 1}", "  exits: [1, 2]", "a: &x 1", "b: *x"]  # fmt: skip
QUICK = (Phase.explicit, Phase.generate)  # a recipe takes minutes to shrink
reproducible = settings(
    max_examples=150, deadline=None, database=None, derandomize=True, phases=QUICK
)


def outcome(reference: str, overrides: list[str]) -> Recipe | InputError:
    """A recipe or a complete error message; any other exception is raised."""
    try:
        return load_recipe(reference, overrides)
    except InputError as error:
        refusal = error
    assert json.dumps(refusal.to_json())
    assert refusal.hint
    assert len(str(refusal)) < 6000
    assert not isinstance(refusal, RecipeError) or all(one.rule for one in refusal.problems)
    return refusal


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a recipe is written."""
    return tmp_path_factory.mktemp("recipes") / "any.yaml"


@reproducible
@given(st.text(alphabet=YAMLISH, max_size=40) | st.lists(st.sampled_from(LINES)).map("\n".join))
def test_any_text_is_a_recipe_or_refused(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")
    outcome(str(path), [])


@reproducible
@given(st.binary(max_size=60))
def test_any_bytes_are_a_recipe_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert isinstance(outcome(str(path), []), InputError)


KEYS = ["seed", "name", "data.root", "data.image_size", "student.exits", "teacher",
        "calibration", "calibration.max_macs", "training.student.learning_rate",
        "distillation.pairing"]  # fmt: skip
texts = st.text(alphabet=YAMLISH, max_size=12)
values = st.one_of(
    texts, st.integers().map(str), st.floats().map(str), st.sampled_from(["[1, 2]", "{}", "null"])
)


pairs = st.tuples(st.sampled_from(KEYS) | texts, st.sampled_from("=:"), values)


@reproducible
@given(st.lists(pairs, max_size=3))
@example([("seed", "=", "9" * 5000)])
@example([("k" * 9999, "=", "1")])
@example([("data.root", "=", "a\0b")])
def test_any_setting_is_taken_or_refused(given: list[tuple[str, str, str]]) -> None:
    found = outcome("digits", ["".join(parts) for parts in given])
    if isinstance(found, Recipe):
        assert found == Recipe.model_validate(found.model_dump())


shares = st.floats(0.02, 0.5)
targets = st.one_of(
    st.fixed_dictionaries({"max_drop": st.floats(0, 100)}),
    st.fixed_dictionaries({"max_macs": st.floats(0, 1, exclude_min=True)}),
    st.fixed_dictionaries({"threshold": st.floats(0, 1e9) | st.sampled_from(["always", "never"])}),
    st.fixed_dictionaries({
        "max_risk": st.floats(0, 1, exclude_min=True, exclude_max=True),
        "confidence": st.floats(0.5, 1, exclude_max=True),
    }),
)  # fmt: skip


@st.composite
def networks(draw: st.DrawFn, exits: int) -> dict[str, Any]:
    """A network with so many exits, by their number or their blocks."""
    depth = draw(st.sampled_from([14, 20, 32]))
    blocks = (depth - 2) // 2
    cuts = draw(st.sets(st.integers(1, blocks - 1), min_size=exits - 1, max_size=exits - 1))
    return {
        "depth": depth,
        "width": draw(st.none() | st.integers(1, 1024)),
        "exits": exits if draw(st.booleans()) else sorted(cuts),
        "head": draw(st.sampled_from(["erde", "gap"])),
        "exit_weights": draw(st.none() | st.just([0.5] * exits)),
    }


@st.composite
def training(draw: st.DrawFn) -> dict[str, Any]:
    """How one network is trained."""
    return {
        "epochs": draw(st.integers(1, 100_000)),
        "learning_rate": draw(st.floats(0, 1e300, exclude_min=True)),
        "weight_decay": draw(st.floats(0, 1e300)),
        "momentum": draw(st.floats(0, 1, exclude_max=True)),
        "precision": draw(st.sampled_from(["auto", "float32", "bfloat16", "float16"])),
        **draw(st.sampled_from([{}, {"compile": True}, {"sync_batch_norm": True}])),
    }


characters = st.characters(categories=("L", "Nd"), include_characters="_.-")
names = st.text(characters, min_size=1, max_size=20).filter(lambda name: name[0] not in ".-")


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """A recipe in which nothing is wrong."""
    theirs, ours = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    exits = st.integers(0, theirs - 1)
    pairing = draw(st.lists(exits, min_size=ours, max_size=ours))
    return {
        "name": draw(names),
        "seed": draw(st.integers(0, 2**62)),
        "data": {"dataset": "digits", "image_size": draw(st.integers(8, 1024)),
                 "calibration_fraction": draw(shares), "test_fraction": draw(shares),
                 "augmentation": {"crop": draw(st.integers(0, 7))}},
        "teacher": draw(networks(theirs)),
        "student": draw(networks(ours)),
        "distillation": {"pairing": pairing, "temperature": draw(st.floats(1e-9, 100))},
        "training": {"teacher": draw(training()), "student": draw(training())},
        "calibration": draw(targets),
    }  # fmt: skip


@reproducible
@given(recipes())
def test_a_recipe_that_is_written_and_read_again_is_the_same(
    path: Path, document: dict[str, Any]
) -> None:
    recipe = Recipe.model_validate(document)
    for text in (
        yaml.safe_dump(recipe.model_dump(), allow_unicode=True),
        json.dumps(recipe.model_dump()),
    ):
        path.write_text(text, encoding="utf-8")
        assert load_recipe(str(path)) == recipe
