"""What decides the bytes of each trained network: a digest of the inputs of its phase."""

from __future__ import annotations

from erde_cli.core.files import digest_of
from erde_cli.core.recipe import Recipe
from erde_cli.core.workflows.options import Json

_VERSION = 1  # raised when the same recipe would train another network


def relevant(recipe: Recipe, role: str) -> Json:
    """The parts of a recipe that a role's training depends on, as a plain mapping.

    Where the images lie does not matter; what they are is in the fingerprint of the splits.
    """
    whole = recipe.model_dump(exclude={"name": True, "calibration": True, "data": {"root"}})
    if role == "teacher":
        whole = recipe.model_dump(include={"seed", "data", "teacher"}, exclude={"data": {"root"}})
        whole["training"] = {"teacher": recipe.training.teacher.model_dump()}
    return whole


def inputs_digest(recipe: Recipe, role: str, fingerprint: str, teacher: str | None = None) -> str:
    """Digest of all that decides a network: recipe, images, and the teacher's weights.

    Args:
        recipe: the recipe.
        role: "teacher" or "student".
        fingerprint: of the images and their splits.
        teacher: digest of the teacher's weights, for a student that has one.
    """
    parts = relevant(recipe, role)
    if role == "student":
        # The teacher is in `teacher`, whichever recipe made it.
        del parts["teacher"], parts["training"]["teacher"]
    document = {"version": _VERSION, "recipe": parts, "images": fingerprint, "teacher": teacher}
    return digest_of(document)
