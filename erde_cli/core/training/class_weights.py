"""What each image's loss is multiplied by, as its class says; numbers alone, without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from erde_cli.core.errors import InputError, brief
from erde_cli.core.images.class_names import one_form
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.training import Training

_NAMED = 10  # classes that a message names


def check_class_weights(recipe: Recipe, class_names: Sequence[str]) -> None:
    """Check that the weights of teacher and student name the classes, each once, and no others.

    Raises:
        InputError: they do not.
    """
    for role in ("teacher", "student"):
        wanted = getattr(recipe.training, role).class_weights
        if isinstance(wanted, dict):
            _check(f"training.{role}.class_weights", list(wanted), class_names)


def class_weights(
    settings: Training, images: Sequence[int], class_names: Sequence[str]
) -> list[float] | None:
    """Weight of each class, in the order of the labels; None where no loss is to be multiplied.

    `balanced` is w_c = N / (K · n_c): every class weighs N / K, all of them N.

    Args:
        settings: of the training; `check_class_weights` has seen the names.
        images: n_c, training images of each class.
        class_names: of every label.
    """
    wanted = settings.class_weights
    if wanted == "none":
        return None
    if isinstance(wanted, dict):
        named = {one_form(name): weight for name, weight in wanted.items()}
        return [named[name] for name in class_names]
    return [sum(images) / (len(images) * count) for count in images]


def _check(key: str, given: Sequence[str], class_names: Sequence[str]) -> None:
    names, known = Counter(map(one_form, given)), Counter(class_names)
    wrong = [
        f"{word}: {', '.join(map(repr, list(found)[:_NAMED]))}"
        for word, found in (("missing", known - names), ("no class", names - known))
        if found
    ]
    if wrong:
        raise InputError(
            f"{key} does not name the classes of the images.",
            got=brief("; ".join(wrong)),
            expected=brief(f"a weight for each of {', '.join(map(repr, class_names[:_NAMED]))}"),
            hint=f"name every class once, or type --set {key}=balanced",
        )
