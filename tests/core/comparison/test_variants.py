"""Methods and grids, read before anything heavy is imported."""

import pytest

from erde_cli.core.comparison.variants import Variant, own_settings, parse_methods, variants_of
from erde_cli.core.errors import InputError


def test_methods_come_in_the_order_they_are_compared_in() -> None:
    assert parse_methods("kd, erde") == (["erde", "kd"], False)
    assert parse_methods("static,kd") == (["kd"], True)
    for text in ("kd,kd", "kd,sgd", "", "erde,", "static", "kd,static,static"):
        with pytest.raises(InputError, match="named once each"):
            parse_methods(text)


def test_a_grid_multiplies_only_what_reads_it() -> None:
    grid = ["distillation.weights.entropy=1,3", "distillation.temperature=2,4"]
    labels = [one.label for one in variants_of(["erde", "kd", "cross_entropy"], grid)]
    assert labels == [
        "erde+weights.entropy=1+temperature=2",
        "erde+weights.entropy=1+temperature=4",
        "erde+weights.entropy=3+temperature=2",
        "erde+weights.entropy=3+temperature=4",
        "kd+temperature=2",
        "kd+temperature=4",
        "cross_entropy",
    ]
    every = variants_of(["kd", "cross_entropy"], ["training.student.learning_rate=0.1,0.2"])
    assert len(every) == 4
    assert variants_of(["erde"], []) == [Variant("erde")]


def test_commas_inside_brackets_belong_to_a_value() -> None:
    found = variants_of(["kd"], ["distillation.pairing=[0,1,2],[1, 1, 2]"])
    assert [one.settings for one in found] == [
        ("distillation.pairing=[0,1,2]",), ("distillation.pairing=[1, 1, 2]",),
    ]  # fmt: skip
    assert found[0].label == "kd+pairing=_0_1_2_"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ((), "erde"),
        (("distillation.weights.entropy=0.5",), "erde: weights entropy 0.5"),
        (
            ("distillation.weights={cross_entropy: 1, 'entropy': 0}",),
            "erde: weights cross entropy 1, entropy 0",
        ),
        (
            ("distillation.pairing=[0,1,2]", "training.student.learning_rate=3e-4"),
            "erde: pairing 0, 1, 2, learning rate 3e-4",
        ),
    ],
)
def test_names_for_people_have_no_signs_of_yaml(settings: tuple[str, ...], name: str) -> None:
    assert Variant("erde", settings).name == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("distillation.temperature", "its values"),
        ("distillation.temperature=", "its values"),
        ("distillation.temperature=2,2", "its values"),
        ("distillation.temperature=2,,4", "its values"),
        ("student.width=2,4", "nothing else"),
        ("training.teacher.epochs=2", "nothing else"),
        ("seed=1,2", "nothing else"),
        ("distillation.method=kd,erde", "nothing else"),
        ("distillation.teacher_cache.views=2", "nothing else"),
    ],
)
def test_a_grid_that_would_compare_unlike_students_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        variants_of(["erde"], [text])


def test_single_changes_are_not_multiplied() -> None:
    vary = ["distillation.weights.entropy=0,3", "distillation.temperature=4"]
    found = variants_of(["erde", "kd", "cross_entropy"], [], vary)
    assert [one.label for one in found] == [
        "erde", "erde+weights.entropy=0", "erde+weights.entropy=3", "erde+temperature=4",
        "kd", "kd+temperature=4", "cross_entropy",
    ]  # fmt: skip
    same = ["distillation.temperature=2"]
    assert len(variants_of(["erde"], same, same)) == 1
    with pytest.raises(InputError, match="one --vary"):
        variants_of(["erde"], [], ["distillation.temperature=2", "distillation.temperature=4"])
    with pytest.raises(InputError, match="--vary changes how a student learns"):
        variants_of(["erde"], [], ["seed=1"])


def test_a_key_has_one_grid() -> None:
    grid = ["distillation.temperature=2", "distillation.temperature=4"]
    with pytest.raises(InputError, match="one --grid"):
        variants_of(["erde"], grid)


def test_one_method_alone_is_given_a_value() -> None:
    texts = ["kd:distillation.temperature=4", "kd:training.student.momentum=0"]
    found = own_settings(texts, ["erde", "kd"])
    assert found == {
        "erde": (), "kd": ("distillation.temperature=4", "training.student.momentum=0"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("distillation.temperature=4", "a method that is compared"),
        ("cross_entropy:training.student.momentum=0", "a method that is compared"),
        ("kd:distillation.temperature=2,4", "takes one value"),
        ("kd:distillation.weights.entropy=2", "does not read"),
        ("kd:seed=2", "nothing else"),
    ],
)
def test_what_one_method_cannot_be_given(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        own_settings([text], ["erde", "kd"])
