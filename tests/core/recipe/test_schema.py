"""Every key's type and bounds, and the rules between keys; the usual mistakes: bad_input."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from erde_cli.core.errors import Problem, RecipeError
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.calibration import Calibration
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.recipe.sections.network import Network

Changed = Callable[[dict[str, Any]], Recipe]


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("seed", True),
        ("seed", 1.0),
        ("seed", 2**62 + 1),
        ("name", ".hidden"),
        ("name", 3),
        ("data.image_size", True),
        ("data.image_size", 32.0),
        ("data.calibration_fraction", 0),
        ("data.calibration_fraction", 0.6),
        ("data.test_fraction", 1),
        ("data.split_seed", -1),
        ("data.split_seed", False),
        ("data.unreadable", "ignore"),
        ("data.transparent", "red"),
        ("data.bit_depth", 7),
        ("data.bit_depth", 17),
        ("data.frames", "all"),
        ("data.augmentation.crop", True),
        ("data.augmentation.crop", -1),
        ("data.augmentation.flip", 1),
        ("teacher.depth", True),
        ("teacher.depth", "20"),
        ("teacher.head", "linear"),
        ("teacher.backbone", "lenet"),
        ("teacher.exits", [1, True]),
        ("teacher.exits", 2.0),
        ("teacher.exits", None),
        ("student.exit_weights", 1),
        ("training.student.epochs", 5.0),
        ("training.teacher.batch_size", True),
        ("training.teacher.learning_rate", True),
        ("training.teacher.label_smoothing", 1),
        ("training.teacher.precision", 16),
        ("training.student.memory_format", "channels-last"),
        ("training.student.memory_format", None),
        ("training.student.compile", 1),
        ("training.student.compile", "auto"),
        ("training.teacher.schedule", "steps"),
        ("distillation.method", "KD"),
        ("distillation.temperature", 0),
        ("distillation.temperature", 101),
        ("distillation.weights.entropy", -1),
        ("distillation.form", 1),
        ("distillation.unsure_above", 1),
        ("student.stem_stride", 3),
        ("student.head_dropout", 1),
        ("distillation.entropy_at_last_exit", "no"),
        ("distillation.entropy_on", "wrong"),
        ("calibration.max_drop", 101),
        ("calibration.max_drop", True),
    ],
)
def test_a_value_of_another_kind_or_out_of_bounds_is_refused_where_it_stands(
    changed: Changed, dotted: str, value: Any
) -> None:
    with pytest.raises(RecipeError) as caught:
        changed({dotted: value})
    [problem] = caught.value.problems
    assert problem.path == dotted
    shown = repr(value)
    assert problem.value == (shown if len(shown) <= 60 else f"{shown[:57]}...")
    assert problem.file.endswith("mine.yaml")
    assert problem.rule


@pytest.mark.parametrize(
    ("changes", "path", "rule"),
    [
        ({"teacher.depth": 19}, "teacher.depth", "such as 14 or 20"),
        (
            {"teacher.backbone": "wrn", "teacher.depth": 20},
            "teacher.depth",
            "must be 6n + 4, such as 16 or 22 for wrn",
        ),
        (
            {"teacher.backbone": "vgg", "teacher.depth": 13, "teacher.widening": 2},
            "teacher.widening",
            "vgg does not have this key",
        ),
        (
            {"teacher.backbone": "airbench", "teacher.depth": 10},
            "teacher.depth",
            "must be 6n + 2, such as 8 or 14 for airbench",
        ),
        (
            {"teacher.backbone": "airbench", "teacher.depth": 14, "teacher.stem_stride": 2},
            "teacher.stem_stride",
            "airbench does not have this key; remove it",
        ),
        (
            {"student.head": "gap", "student.head_dropout": 0},
            "student.head_dropout",
            "the head gap has no dropout; remove this key",
        ),
        (
            {"teacher.backbone": "vgg", "teacher.depth": 8, "teacher.exits": [3, 5]},
            "teacher.exits",
            "increasing block numbers from 1 to 4",
        ),
        (
            {"training.teacher.decay": 0.2},
            "training.teacher.decay",
            "applies only to the schedule step",
        ),
        (
            {"training.teacher.schedule": "step", "training.teacher.milestones": [2]},
            "training.teacher.milestones",
            "shares of the epochs, such as 0.4 for epoch 2 of 5",
        ),
        (
            {"data.dataset": "svhn", "data.augmentation.flip": True},
            "data.augmentation.flip",
            "a mirrored digit is not a digit",
        ),
        ({"teacher.exits": [0, 3]}, "teacher.exits", "increasing block numbers from 1 to 8"),
        ({"teacher.exits": [6, 3]}, "teacher.exits", "increasing"),
        ({"teacher.exits": [3, 3]}, "teacher.exits", "increasing"),
        (
            {"teacher.exits": 10},
            "teacher.exits",
            "must be 1 to 9, the number of blocks at this depth",
        ),
        ({"student.exit_weights": [1, 1, 1, 1]}, "student.exit_weights", "must be 3 numbers"),
        (
            {"training.student.warmup_epochs": 7.5},
            "training.student.warmup_epochs",
            "below epochs = 5",
        ),
        ({"distillation.pairing": []}, "distillation.pairing", "3 numbers from 0 to 2"),
        ({"distillation.pairing": [0, True, 2]}, "distillation.pairing.1", "integer"),
    ],
)
def test_keys_that_do_not_go_together_are_refused_with_the_rule(
    changed: Changed, changes: dict[str, Any], path: str, rule: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        changed(changes)
    [problem] = caught.value.problems
    assert problem.path == path
    assert rule in problem.rule


@pytest.mark.parametrize(
    "changes",
    [
        {"teacher.depth": 8, "teacher.exits": [1, 2]},
        {"teacher.exits": [1, 8]},
        {"teacher.exits": 9, "distillation.pairing": [8, 0, 4]},
        {"student.exits": 3},
        {"student.exit_weights": [0, 0.5, 2]},
        {"student.exits": [1], "distillation.pairing": [0, 2]},
        {"student.exits": [], "distillation.pairing": [2]},
        {"student.exits": [1], "distillation.method": "cross_entropy"},
        {"training.student.epochs": 1, "training.student.warmup_epochs": 0},
        {"training.student.warmup_epochs": 4.9},
        {"training.student.gradient_clipping": None},
        {"training.student.learning_rate": 1},
        {"data.augmentation.crop": 31, "data.augmentation.cutout": 32},
        {"data.dataset": "digits", "data.root": None, "data.augmentation.flip": False},
        {"data.calibration_fraction": 0.02, "data.test_fraction": 0.5},
        {"distillation.temperature": 100},
        {"seed": 2**62},
        {"calibration.max_drop": 0},
    ],
)
def test_values_at_their_bounds_are_taken(changed: Changed, changes: dict[str, Any]) -> None:
    recipe = changed(changes)
    for dotted, value in changes.items():
        got: Any = recipe
        for key in dotted.split("."):
            got = getattr(got, key)
        assert got == value


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ({"threshold": 0.3}, ("threshold", 0.3)),
        ({"threshold": 0}, ("threshold", 0)),
        ({"threshold": "always"}, ("threshold", "always")),
        ({"threshold": "never"}, ("threshold", "never")),
        ({"max_drop": 0.5}, ("max_drop", 0.5)),
        ({"max_macs": 1}, ("max_macs", 1)),
        ({"max_macs": 0.5, "max_drop": None}, ("max_macs", 0.5)),
        ({"min_accuracy": 0.9, "temperature": True}, ("min_accuracy", 0.9)),
        ({"max_drop": 2, "metric": "balanced_accuracy"}, ("max_drop", 2)),
        ({"threshold": 2, "metric": "accuracy"}, ("threshold", 2)),
        ({"max_latency": 2}, ("max_latency", 2)),
        ({"max_risk": 0.05, "risk": "accuracy-gap", "confidence": 0.95}, ("max_risk", 0.05)),
    ],
)
def test_one_target_of_calibration_is_taken(
    changed: Changed, written: dict[str, Any], target: tuple[str, Any]
) -> None:
    assert changed({"calibration": written}).calibration.target == target


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_risk", 1),
        ("min_accuracy", 85),
        ("max_latency", 0),
        ("confidence", 1),
        ("threshold", "sometimes"),
        ("threshold", True),
        ("max_macs", "half"),
    ],
)
def test_a_target_of_calibration_out_of_bounds_is_refused(
    changed: Changed, key: str, value: Any
) -> None:
    with pytest.raises(RecipeError) as caught:
        changed({"calibration": {key: value}})
    assert [problem.path for problem in caught.value.problems] == [f"calibration.{key}"]


def test_a_recipe_without_calibration_asks_for_a_drop_of_one_point(
    changed: Changed, document: dict[str, Any]
) -> None:
    del document["calibration"]
    assert changed({}).calibration == Calibration(max_drop=1.0)


@pytest.mark.parametrize(
    ("exits", "count"), [([3, 6], 3), ([1], 2), ([], 1), (1, 1), (3, 3), (9, 9)]
)
def test_the_last_exit_is_counted(changed: Changed, exits: Any, count: int) -> None:
    recipe = changed({"teacher.exits": exits, "distillation.method": "cross_entropy"})
    assert recipe.teacher.exit_count == count
    assert recipe.teacher.blocks == 9


def test_student_exits_learn_from_the_teacher_exit_of_the_same_number(changed: Changed) -> None:
    assert changed({}).pairing == [0, 1, 2]
    assert changed({"distillation.pairing": [0, 0, 2]}).pairing == [0, 0, 2]


@pytest.mark.parametrize(
    ("changes", "flips"),
    [
        ({}, True),
        ({"data.augmentation.flip": False}, False),
        ({"data.augmentation.flip": True}, True),
        ({"data.dataset": "digits", "data.root": None}, False),
    ],
)
def test_images_are_mirrored_unless_they_are_digits_or_flip_is_false(
    changed: Changed, changes: dict[str, Any], flips: bool
) -> None:
    assert changed(changes).data.flips is flips


@pytest.mark.parametrize(
    ("training", "warmup"),
    [
        ({"epochs": 30}, 1),
        ({"epochs": 5}, 1),
        ({"epochs": 1}, 0.2),
        ({"epochs": 30, "schedule": "one_cycle"}, 6),
        ({"epochs": 1, "schedule": "one_cycle"}, 0.2),
        ({"epochs": 30, "warmup_epochs": 0}, 0),
        ({"epochs": 30, "schedule": "one_cycle", "warmup_epochs": 2.5}, 2.5),
    ],
)
def test_a_warm_up_that_is_not_given_fits_into_the_epochs(
    changed: Changed, training: dict[str, Any], warmup: float
) -> None:
    assert changed({"training.student": training}).training.student.warmup == warmup


def test_the_pairing_that_a_refusal_suggests_is_a_valid_one(changed: Changed) -> None:
    with pytest.raises(RecipeError, match=r"such as \[1, 2\]"):
        changed({"student.exits": [1]})
    assert changed({"student.exits": [1], "distillation.pairing": [1, 2]}).pairing == [1, 2]


def test_a_recipe_cannot_be_changed_once_it_is_read(changed: Changed) -> None:
    recipe = changed({})
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 4  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        recipe.training.student.epochs = 4  # type: ignore[misc]


def test_a_recipe_comes_back_from_its_own_json(changed: Changed) -> None:
    recipe = changed({"student.exit_weights": [1, 0.5, 2], "calibration": {"max_macs": 0.5}})
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert Recipe.model_validate(recipe.model_dump()) == recipe


@pytest.mark.parametrize(
    ("keys", "blocks", "channels"),
    [
        ({"depth": 20}, 9, 16),
        ({"depth": 8, "widening": 4, "stem": 32}, 3, 16),
        ({"backbone": "wrn", "depth": 16, "dropout": 0.3}, 6, 16),
        ({"backbone": "wrn", "depth": 40, "width": 8}, 18, 8),
        ({"backbone": "vgg", "depth": 8}, 5, 64),
        ({"backbone": "vgg", "depth": 13}, 10, 64),
        ({"backbone": "vgg", "depth": 16, "width": 32}, 13, 32),
        ({"backbone": "airbench", "depth": 8}, 6, 64),
        ({"backbone": "airbench", "depth": 14, "width": 8}, 12, 8),
    ],
)
def test_a_family_decides_the_blocks_and_the_usual_width(
    keys: dict[str, Any], blocks: int, channels: int
) -> None:
    network = Network(**keys)
    assert (network.blocks, network.channels) == (blocks, channels)
    assert Network(**keys, exits=blocks).exit_count == blocks
    with pytest.raises(ValidationError, match=f"1 to {blocks}"):
        Network(**keys, exits=blocks + 1)


@pytest.mark.parametrize(
    ("dataset", "flips"),
    [("digits", False), ("svhn", False), ("cifar10", True), ("cifar100", True)],
)
def test_digits_are_not_mirrored_and_pictures_are(dataset: str, flips: bool) -> None:
    assert Data(dataset=dataset).flips is flips


@pytest.mark.parametrize("dotted", ["data.augmentation.mixup", "training.student.cutmix"])
def test_mixed_labels_are_refused_with_the_reason(
    dotted: str, document: dict[str, Any], write: Callable[[Any], str],
    problems: Callable[..., dict[str, Problem]],
) -> None:  # fmt: skip
    found = problems(write(document), f"{dotted}=0.2")
    assert "it is undefined whether the teacher is right" in str(found[dotted])
