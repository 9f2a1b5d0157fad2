"""What decides the bytes of each trained network: a digest of the inputs of its phase."""

from __future__ import annotations

from erde_cli.core.files import digest_of
from erde_cli.core.recipe import Recipe
from erde_cli.core.workflows.options import Json

# Of the section data: where images lie, how they got there, and where they lie once decoded.
WHEREABOUTS = ("root", "download", "memory_limit")
# How files become pixels: only files of one's own leave that open.
_PIXELS = {"transparent": "ignore", "bit_depth": None, "frames": None}  # as before these keys
_VERSION = 1  # raised when the same recipe would train another network


def relevant(recipe: Recipe, role: str) -> Json:
    """The parts of a recipe that a role's training depends on, as a plain mapping.

    Where the images lie and how they got there does not matter; what they are is in the
    fingerprint of the splits.
    """
    shared = recipe.model_dump(include={"seed"})
    shared["data"] = decisive(recipe.model_dump()["data"])
    if role == "teacher":
        own = recipe.model_dump(include={"teacher": True, "training": {"teacher"}})
    else:
        # Not the teacher's section: what it came to is in the digest of its weights.
        own = recipe.model_dump(
            include={"student": True, "distillation": True, "training": {"student"}}
        )
    return {**shared, **own}


def decisive(data: Json) -> Json:
    """What of a section `data` decides the images, in the form it had before it had all its keys.

    Recipes, and with them runs and bundles, from before a key are then the same as with it.
    """
    kept = {name: value for name, value in data.items() if name not in WHEREABOUTS}
    if kept.get("frames") == "first":
        kept["frames"] = None  # but for a warning
    if kept.get("bit_depth") == 16:
        kept["bit_depth"] = None
    files = kept.get("dataset") == "imagefolder"
    for name, before in _PIXELS.items():
        if name in kept and (not files or kept[name] == before):
            del kept[name]
    return kept


def as_meant(recipe: Json) -> Json:
    """A recipe that was written before some keys, with what it meant then."""
    data = recipe.get("data")
    if not isinstance(data, dict) or data.get("dataset") != "imagefolder":
        return recipe
    return {**recipe, "data": {**_PIXELS, **data}}


def inputs_digest(recipe: Recipe, role: str, fingerprint: str, teacher: str | None = None) -> str:
    """Digest of all that decides a network: recipe, images, and the teacher's weights.

    Args:
        recipe: the recipe.
        role: "teacher" or "student".
        fingerprint: of the images and their splits.
        teacher: digest of the teacher's weights, for a student that has one.
    """
    parts = relevant(recipe, role)
    document = {"version": _VERSION, "recipe": parts, "images": fingerprint, "teacher": teacher}
    return digest_of(document)
