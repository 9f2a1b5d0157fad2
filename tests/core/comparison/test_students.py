"""The students that a recipe lists: names, methods, what may differ and what is refused."""

from pathlib import Path

import pytest

from erde_cli.core.comparison.plan import Plan
from erde_cli.core.comparison.students import (
    differing_settings,
    has_static_rivals,
    student_specs,
    with_methods,
)
from erde_cli.core.errors import InputError, RecipeError
from erde_cli.core.recipe.inputs import inputs_digest
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.schema import Recipe

FILE = "mine.yaml"
FOUR = (
    "[kd, {name: masked, distillation: {weights: {entropy: 0}}}, static, "
    "{name: erde, training: {student: {weight_decay: 1e-3}}}]"
)


def listed(students: str) -> Recipe:
    return load_recipe("digits", [f"comparison.students={students}"])


def test_a_recipe_without_the_section_compares_the_three_methods() -> None:
    specs = student_specs(load_recipe("digits"), FILE)
    assert [(one.name, one.method) for one in specs] == [
        ("erde", "erde"), ("kd", "kd"), ("cross_entropy", "cross_entropy"),
    ]  # fmt: skip
    assert not has_static_rivals(load_recipe("digits"))


def test_students_differ_from_the_recipe_in_what_is_listed_and_in_nothing_else() -> None:
    recipe = listed(FOUR)
    kd, masked, erde = student_specs(recipe, FILE)
    plain = load_recipe("digits")
    assert (kd.method, masked.method, erde.method) == ("kd", "erde", "erde")
    assert masked.recipe.distillation.weights.entropy == 0
    kept = plain.distillation.weights.distillation
    assert masked.recipe.distillation.weights.distillation == kept == 3
    assert erde.recipe.training.student.weight_decay == 1e-3
    for spec in (kd, masked, erde):
        assert spec.recipe.training.teacher == plain.training.teacher
        assert (spec.recipe.data, spec.recipe.student) == (plain.data, plain.student)
        assert spec.recipe.comparison == plain.comparison
    assert has_static_rivals(recipe)
    assert differing_settings(recipe) == {
        "masked": {"distillation": {"weights": {"entropy": 0}}},
        "erde": {"training": {"student": {"weight_decay": 0.001}}},
    }


def test_a_mapping_that_is_a_value_is_replaced_and_not_merged() -> None:
    weights = "training.student.class_weights={a: 2, b: 3}"
    students = "[kd, {name: other, training: {student: {class_weights: {a: 5}}}}]"
    recipe = load_recipe("digits", [weights, f"comparison.students={students}"])
    assert student_specs(recipe, FILE)[1].recipe.training.student.class_weights == {"a": 5}


def test_everything_is_compared_with_the_methods_and_they_with_those_after_them() -> None:
    plan = Plan(listed(FOUR), Path("x"), (1,), student_specs(listed(FOUR), FILE))
    assert [one.name for one in plan.references] == ["erde", "kd"]
    assert plan.pairs == [("erde", "kd"), ("masked", "erde"), ("masked", "kd")]
    assert plan.static_recipe.distillation.method == "kd"
    others = listed("[{name: a, distillation: {form: add}}, {name: b, distillation: {method: kd}}]")
    plan = Plan(others, Path("x"), (1,), student_specs(others, FILE))
    assert plan.pairs == [("b", "a")]


def test_no_network_depends_on_the_list_of_students() -> None:
    plain, other = load_recipe("digits"), listed(FOUR)
    for role in ("teacher", "student"):
        assert inputs_digest(plain, role, "x") == inputs_digest(other, role, "x")
    assert "comparison" not in other.recorded()


def test_methods_of_the_command_line_take_the_place_of_the_list() -> None:
    recipe = with_methods(listed(FOUR), ["static", "kd"])
    assert [one.name for one in student_specs(recipe, FILE)] == ["kd"]
    assert has_static_rivals(recipe)
    for methods in (["kd", "kd"], ["kd", "sgd"], [""], ["erde", ""], ["static"]):
        with pytest.raises(InputError, match="takes methods, each once"):
            with_methods(recipe, methods)


@pytest.mark.parametrize(
    ("students", "path", "rule"),
    [
        ("[erde, sgd]", "sgd", "is not a method"),
        ("[{name: kd, distillation: {temperatur: 3}}]", "kd.distillation.temperatur", "unknown"),
        ("[{name: kd, distillation: {temperature: -3}}]", "kd.distillation.temperature", "greater"),
        ("[{name: a, training: {student: {warmup_epochs: 99}}}]",
         "a.training.student.warmup_epochs", "below epochs"),
        ("[{name: a, distillation: {pairing: [0]}}]", "a.distillation.pairing", "3 numbers"),
        ("[{name: kd, distillation: {form: add}}]", "kd.distillation.form", "ignores this key"),
        ("[{name: a, distillation: {method: cross_entropy, temperature: 3}}]",
         "a.distillation.temperature", "ignores this key"),
        ("[{name: kd, distillation: {method: erde}}]", "kd.distillation.method", "must be kd"),
        ("[{name: a, distillation: {teacher_cache: {views: 2}}}]",
         "a.distillation.teacher_cache.views", "same augmented images"),
        ("[{name: a, student: {width: 8}}]", "0.student", "same for all students"),
        ("[kd, {name: a, seed: 3}]", "1.seed", "same for all students"),
        ("[{name: a, training: {teacher: {epochs: 2}}}]", "0.training.teacher", "same for all"),
        ("[{name: a, nmae: b}]", "0.nmae", "unknown key"),
        ("[{name: a/b}]", "0.name", "must consist of letters"),
        ("[{name: ..}]", "0.name", "must consist of letters"),
        ("[erde, {name: ERDE, distillation: {form: add}}]", "ERDE", "two students"),
        ("[erde, {name: a, distillation: {form: replace}}]", "a", "same network as erde"),
        ("[{name: teacher, distillation: {form: add}}]", "teacher", "another file or folder"),
        ("[{name: Teacher, distillation: {form: add}}]", "Teacher", "another file or folder"),
        ("[{name: logs, distillation: {form: add}}]", "logs", "another file or folder"),
        ("[{name: a, distillation: {method: [erde]}}]", "a.distillation.method", "must be"),
        ("[{name: static-50, distillation: {form: add}}]", "static-50", "another file or folder"),
        ("[kd, {name: static, distillation: {form: add}}]", "static", "takes no keys"),
        ("[static]", "static", "needs at least one other student"),
        ("[3]", "0", "must be a section"),
        ("[]", "", "at least 1"),
    ],
)  # fmt: skip
def test_a_wrong_student_is_refused_by_its_key(students: str, path: str, rule: str) -> None:
    with pytest.raises(RecipeError) as caught:
        student_specs(listed(students), FILE)
    [problem] = caught.value.problems
    assert problem.path == f"comparison.students.{path}".rstrip(".")
    assert rule in problem.rule
    assert problem.file in (FILE, "command line")


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        student_specs(
            listed(
                "[{name: a, distillation: {temperature: 0}}, sgd, {name: b, distillation: {x: 1}}]"
            ),
            FILE,
        )
    assert len(caught.value.problems) == 3


def test_other_commands_do_not_read_the_list() -> None:
    changes = [f"comparison.students={FOUR}", "distillation.weights.entropy=0"]
    assert load_recipe("digits", changes).distillation.weights.entropy == 0
    load_recipe("cifar10-evidence", ["distillation.method=kd"])


def test_a_recipe_for_another_metric_is_refused() -> None:
    recipe = load_recipe("digits", ["calibration.metric=balanced_accuracy"])
    with pytest.raises(InputError, match="measures accuracy"):
        student_specs(recipe, FILE)
