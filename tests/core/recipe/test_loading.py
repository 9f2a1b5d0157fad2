"""From a file, `--set` and `--seed` to one recipe, or to every mistake at once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from erde_cli.core.errors import InputError, Problem, RecipeError
from erde_cli.core.recipe.loading import differences, load_recipe, parse_overrides
from erde_cli.core.recipe.schema import Recipe

Changed = Callable[[dict[str, Any]], Recipe]
Document = dict[str, Any]
Write = Callable[[Any], str]
Problems = Callable[..., dict[str, Problem]]

BASE: Document = {
    "data": {"dataset": "digits", "image_size": 8, "augmentation": {"crop": 1}},
    "teacher": {"depth": 8},
    "student": {"depth": 8},
    "training": {"teacher": {"epochs": 2}, "student": {"epochs": 2}},
}


def test_a_teacher_that_is_given_needs_no_first_weights(write: Write, document: Document) -> None:
    document["training"]["teacher"] |= {"train": "heads", "views": 2}
    with pytest.raises(RecipeError, match="needs pretrained"):
        load_recipe(write(document))
    recipe = load_recipe(write(document), teacher={"depth": 8})
    assert recipe.training.teacher.train == "all"
    assert recipe.training.teacher.epochs == document["training"]["teacher"]["epochs"]


def test_what_is_left_out_has_its_default_and_the_name_is_that_of_the_file(
    write: Write, document: Document
) -> None:
    recipe = load_recipe(write(document))
    assert recipe.name == "mine"
    assert recipe.seed == 3
    assert recipe.distillation.method == "erde"
    assert recipe.data.calibration_fraction == 0.1
    assert recipe.training.student.schedule == "cosine"


def test_a_name_in_the_file_comes_before_the_name_of_the_file(
    write: Write, document: Document
) -> None:
    assert load_recipe(write({"name": "other", **document})).name == "other"


def test_a_number_with_an_exponent_is_a_number(write: Write, document: Document) -> None:
    text = yaml.safe_dump(document) + "distillation: {weights: {entropy: 1e1}}\n"
    path = write(text.replace("epochs: 5", "epochs: 5\n    learning_rate: 3e-4"))
    recipe = load_recipe(path, ["training.teacher.weight_decay=2e-5"])
    assert recipe.training.student.learning_rate == 3e-4
    assert recipe.training.teacher.weight_decay == 2e-5
    assert recipe.distillation.weights.entropy == 10


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("teacher.dept", "teacher.depth"),
        ("teacher.epochs", "training.teacher.epochs"),
        ("student.learning_rate", "training.teacher.learning_rate"),
        ("training.epochs", "training.teacher.epochs"),
        ("crop", "data.augmentation.crop"),
        ("data.augmentation.crops", "data.augmentation.crop"),
        ("distillation.weights.entopy", "distillation.weights.entropy"),
        ("calibrations", "calibration"),
        ("data.max_drop", "calibration.max_drop"),
        ("calibration.max_dorp", "calibration.max_drop"),
        ("training.student.lerning_rate", "training.student.learning_rate"),
        ("zzzzzzzzzz", ""),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_path_there_is(
    changed: Changed, wrong: str, nearest: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        changed({wrong: 1})
    [problem] = caught.value.problems
    assert (problem.path, problem.value, problem.rule) == (wrong, "1", "unknown key")
    assert problem.nearest == nearest


def test_an_unknown_key_without_a_target_is_reported_too(changed: Changed) -> None:
    with pytest.raises(RecipeError) as caught:
        changed({"calibration": {"max_dorp": 1}})
    assert any("max_drop" in problem.nearest for problem in caught.value.problems)


@pytest.mark.parametrize("key", ["float", "int", "str", "a[0]", "list[int]"])
def test_an_unknown_key_is_named_whatever_it_is_called(changed: Changed, key: str) -> None:
    with pytest.raises(RecipeError) as caught:
        changed({f"teacher.{key}": 1})
    assert [problem.path for problem in caught.value.problems] == [f"teacher.{key}"]


@pytest.mark.parametrize("key", [1, 1.5, True, None])
def test_a_key_that_is_no_text_is_taken_as_text(write: Write, document: Document, key: Any) -> None:
    with pytest.raises(RecipeError, match="unknown key"):
        load_recipe(write({**document, key: 1}))


def test_all_mistakes_are_reported_at_once(
    problems: Problems, write: Write, document: Document
) -> None:
    document["teacher"]["dept"] = 20
    document["student"]["head"] = "erd"
    document["training"]["student"]["epochs"] = True
    document["distillation"] = {"temperature": -2}
    del document["data"]["dataset"]
    path = write(document)
    found = problems(path, "seed=-1")
    assert {name: (p.file, p.value, p.rule, p.nearest) for name, p in found.items()} == {
        "data.dataset": (path, "", "is required", ""),
        "teacher.dept": (path, "20", "unknown key", "teacher.depth"),
        "student.head": (path, "'erd'", "must be erde or gap", "erde"),
        "distillation.temperature": (path, "-2", "must be greater than 0", ""),
        "training.student.epochs": (path, "True", "must be a valid integer", ""),
        "seed": ("command line", "-1", "must be greater than or equal to 0", ""),
    }


def test_a_file_that_is_no_text_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\x89\x00\xff")
    with pytest.raises(InputError, match="not in UTF-8") as caught:
        load_recipe(str(tmp_path / "a.yaml"))
    assert (caught.value.got, "iconv" in caught.value.hint) == ("binary data", False)


def test_overrides_are_merged_before_the_one_validation(write: Write, document: Document) -> None:
    document["student"]["depth"] = 9  # wrong in the file, mended on the command line
    path = write(document)
    recipe = load_recipe(
        path,
        ["student.depth=14", "student.exits=[2, 4]", "data.augmentation.crop=2", "name=other"],
    )
    assert (recipe.student.depth, recipe.student.exits) == (14, [2, 4])
    assert recipe.data.augmentation.crop == 2
    assert recipe.name == "other"
    assert recipe.teacher == load_recipe(path, ["student.depth=14"]).teacher


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("teacher.dept=3", "teacher.dept"),
        ("seed=true", "seed"),
        ("seed=1e3", "seed"),
        ("teacher=3", "teacher"),
        ("training.student={}", "training.student.epochs"),
        ("data.root=", "data.root"),
        ("data.root.deeper=1", "data.root"),
        ("teacher.exits=[9]", "teacher.exits"),
        ("distillation.weights.entropy=-1", "distillation.weights.entropy"),
        ("calibration.max_macs=2", "calibration.max_macs"),
    ],
)
def test_a_mistake_is_attributed_to_the_file_or_the_command_line(
    problems: Problems, write: Write, document: Document, override: str, path: str
) -> None:
    document["student"]["width"] = 0
    file = write(document)
    found = problems(file, override)
    assert {path: problem.file for path, problem in found.items()} == {
        path: "command line",
        "student.width": file,
    }


def test_an_override_that_breaks_a_rule_between_sections_is_attributed_to_the_command_line(
    problems: Problems, write: Write, document: Document
) -> None:
    [problem] = problems(write(document), "distillation.pairing=[0, 1, 5]").values()
    assert (problem.path, problem.file) == ("distillation.pairing", "command line")
    assert problem.value == "[0, 1, 5]"


def test_the_seed_of_the_command_line_takes_the_place_of_the_recipes(
    write: Write, document: Document, problems: Problems
) -> None:
    path = write(document)
    assert load_recipe(path, seed=7).seed == 7
    assert load_recipe(path, seed=0).seed == 0
    assert load_recipe(path).seed == 3
    [problem] = problems(path, seed=-7).values()
    assert (problem.path, problem.file, problem.value) == ("seed", "command line", "-7")


def test_the_value_of_an_override_is_yaml_and_may_hold_an_equals_sign() -> None:
    texts = ["a=3", "b.c=[1, 2]", "d=null", "e=x=y", " f = 3e-4", "g=", "h='3'"]
    assert parse_overrides(texts) == {
        "a": 3, "b.c": [1, 2], "d": None, "e": "x=y", "f": 3e-4, "g": None, "h": "3",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("override", "target"),
    [
        ("calibration.max_macs=0.5", ("max_macs", 0.5)),
        ("calibration.threshold=0.3", ("threshold", 0.3)),
        ("calibration.max_drop=2", ("max_drop", 2)),
    ],
)
def test_a_target_of_the_command_line_takes_the_place_of_another(
    write: Write, document: Document, override: str, target: tuple[str, float]
) -> None:
    assert load_recipe(write(document), [override]).calibration.target == target
    del document["calibration"]
    assert load_recipe(write(document), [override]).calibration.target == target


def test_a_root_in_the_file_is_relative_to_it(
    write: Write, document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(document)
    monkeypatch.chdir("/")
    assert load_recipe(path).data.root == str(tmp_path / "recipes" / "images")
    document["data"]["root"] = "../images"
    assert load_recipe(write(document)).data.root == str(tmp_path / "images")
    document["data"]["root"] = str(tmp_path)
    assert load_recipe(write(document)).data.root == str(tmp_path)


def test_a_root_on_the_command_line_is_below_the_working_folder(
    write: Write, document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = write(document)
    assert load_recipe(path, ["data.root=images"]).data.root == str(tmp_path / "here" / "images")
    assert load_recipe(path, ["data.root=/images"]).data.root == "/images"


@pytest.mark.parametrize("root", ["~", "~/images"])
def test_a_root_may_begin_at_home(
    write: Write, document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    document["data"]["root"] = root
    assert load_recipe(write(document)).data.root == root.replace("~", str(tmp_path))


@pytest.mark.parametrize("root", ["~no-such-user/images", '"a\\0b"', '"\\ud800"'])
def test_a_root_that_is_no_path_is_refused_with_the_key(
    write: Write, document: Document, problems: Problems, root: str
) -> None:
    text = yaml.safe_dump(document).replace("root: images", f"root: {root}")
    assert root in text
    assert list(problems(write(text))) == ["data.root"]


def test_differences_name_the_keys_that_changed(write: Write, document: Document) -> None:
    old = load_recipe(write(document)).model_dump()
    document["teacher"]["depth"] = 26
    document["student"]["exits"] = 3
    document["calibration"] = {"max_macs": 0.5}
    new = load_recipe(write(document), seed=9).model_dump()
    assert differences(old, old) == []
    assert differences(old, new) == [
        "calibration.max_drop: 1.0 there, None here",
        "calibration.max_macs: None there, 0.5 here",
        "seed: 3 there, 9 here",
        "student.exits: [1, 2] there, 3 here",
        "teacher.depth: 20 there, 26 here",
    ]


def test_a_key_that_only_one_of_two_recipes_has_is_a_difference() -> None:
    assert differences({"a": {"b": 1}}, {"a": {"c": 2}}) == [
        "a.b: 1 there, None here",
        "a.c: None there, 2 here",
    ]
    assert differences({"a": {"b": 1}}, {"a": 3}) == ["a: {'b': 1} there, 3 here"]


PATHS = [
    "name", "seed", "data", "data.root", "data.image_size", "data.augmentation.crop",
    "data.augmentation.flip", "teacher", "teacher.depth", "teacher.exits", "student.exit_weights",
    "distillation.method", "distillation.pairing", "distillation.weights.entropy",
    "training.student", "training.teacher.epochs", "training.teacher.learning_rate",
    "calibration", "calibration.threshold", "calibration.max_drop", "calibration.max_macs",
]  # fmt: skip
KEYS = [*sorted({key for path in PATHS for key in path.split(".")}), "float", "", "x.y"]
VALUES = [
    "digits", "erde", "always", "never", "~", 8, 14, [1, 2], [], {}, 0.5, 10**30, -1, 1e308,
]  # fmt: skip
scalars = (
    st.sampled_from(VALUES)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
keys = st.sampled_from(KEYS) | st.text(max_size=3)
anything = scalars | st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """A valid recipe with a few keys set to anything, or anything at all."""
    if draw(st.integers(0, 4)) == 0:
        return draw(anything)
    document = json.loads(json.dumps(BASE))
    for path in draw(st.lists(st.sampled_from([*PATHS, "new", "teacher.x.y"]), max_size=3)):
        *sections, key = path.split(".")
        inner = document
        for section in sections:
            if not isinstance(inner.get(section), dict):
                inner[section] = {}
            inner = inner[section]
        inner[key] = draw(st.sampled_from(VALUES) if draw(st.booleans()) else anything)
    return document


def loaded(path: Path) -> Recipe | InputError:
    try:
        return load_recipe(str(path))
    except InputError as error:
        return error


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(documents(), st.booleans())
@example({**BASE, "calibration": {"threshold": "always"}}, True)
@example({**BASE, "data": {"dataset": "imagefolder", "root": "a\0b"}}, True)
def test_any_document_is_a_recipe_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, document: Any, ascii_only: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(json.dumps(document, ensure_ascii=ascii_only), encoding="utf-8")
    result = loaded(path)
    if isinstance(result, Recipe):
        assert result == Recipe.model_validate(result.model_dump())
    else:
        assert json.dumps(result.to_json())
        assert not isinstance(result, RecipeError) or result.problems
