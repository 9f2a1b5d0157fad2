"""What each class weighs, and which names are refused."""

from typing import Any

import pytest

from erde_cli.core.errors import InputError
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.class_weights import check_class_weights, class_weights


def training(wanted: Any) -> Training:
    return Training(epochs=1, class_weights=wanted)


def weighed(*settings: str) -> Recipe:
    given = [f"training.student.class_weights{setting}" for setting in settings]
    return load_recipe("digits", given)


def test_none_multiplies_nothing() -> None:
    assert class_weights(training("none"), [1, 400], ("a", "b")) is None
    assert class_weights(Training(epochs=1), [1, 400], ("a", "b")) is None


def test_balanced_is_n_over_k_times_n_c() -> None:
    found = class_weights(training("balanced"), [6, 400, 194], ("a", "b", "c"))
    assert found == pytest.approx([600 / (3 * 6), 600 / (3 * 400), 600 / (3 * 194)])
    assert class_weights(training("balanced"), [7, 7], ("a", "b")) == [1.0, 1.0]


def test_named_weights_are_in_the_order_of_the_labels_in_any_form_of_unicode() -> None:
    wanted = training({"z": 2.0, "a\u0308": 3})
    assert class_weights(wanted, [5, 5], ("\u00e4", "z")) == [3.0, 2.0]


def test_names_are_text_even_where_yaml_sees_numbers_or_bools() -> None:
    recipe = weighed("={no: 2, 1: 3}", ".off=4")
    assert recipe.training.student.class_weights == {"no": 2.0, "1": 3.0, "off": 4.0}
    check_class_weights(recipe, ("1", "no", "off"))


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("no",), "not a class: '1'"),
        (("1", "no", "yes"), "missing: 'yes'"),
        (("1", "False"), "missing: 'False'; not a class: 'no'"),
    ],
)
def test_names_that_are_not_the_classes_are_refused(names: tuple[str, ...], problem: str) -> None:
    with pytest.raises(InputError, match=r"training\.student\.class_weights") as caught:
        check_class_weights(weighed("={no: 2, 1: 3}"), names)
    assert caught.value.got == problem


def test_a_name_in_two_forms_stands_twice() -> None:
    recipe = weighed('={"ä": 2, "a\\u0308": 3, b: 1}')
    with pytest.raises(InputError):
        check_class_weights(recipe, ("\u00e4", "b"))
