"""Class weights, by which the loss of each image is multiplied. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from erde_cli.core.errors import InputError, brief
from erde_cli.core.images.class_names import normal_form
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.training import Training

_NAMED = 10  # classes named in a message


def check_class_weights(recipe: Recipe, class_names: Sequence[str]) -> None:
    """Check that the weights of teacher and student name every class once, and no others.

    Raises:
        InputError: they do not.
    """
    for role in ("teacher", "student"):
        weights = getattr(recipe.training, role).class_weights
        if isinstance(weights, dict):
            _check(f"training.{role}.class_weights", list(weights), class_names)


def class_weights(
    settings: Training, images: Sequence[int], class_names: Sequence[str]
) -> list[float] | None:
    """Weight of each class, [classes], in the order of the labels; None if all are 1.

    `balanced` is w_c = N / (K · n_c), so that the total weight of every class is N / K.

    Args:
        settings: of the training, after `check_class_weights`.
        images: n_c, number of training images of each class, [classes].
        class_names: name of each label, [classes].
    """
    weights = settings.class_weights
    if weights == "none":
        return None
    if isinstance(weights, dict):
        by_name = {normal_form(name): weight for name, weight in weights.items()}
        return [by_name[name] for name in class_names]
    return [sum(images) / (len(images) * count) for count in images]


def _check(key: str, given: Sequence[str], class_names: Sequence[str]) -> None:
    names, known = Counter(map(normal_form, given)), Counter(class_names)
    problems = [
        f"{problem}: {', '.join(map(repr, list(classes)[:_NAMED]))}"
        for problem, classes in (("missing", known - names), ("not a class", names - known))
        if classes
    ]
    if problems:
        raise InputError(
            f"{key} does not name the classes of the images.",
            got=brief("; ".join(problems)),
            expected=brief(f"a weight for each of {', '.join(map(repr, class_names[:_NAMED]))}"),
            hint=f"name every class once, or type --set {key}=balanced",
        )
