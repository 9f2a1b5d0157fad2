"""What decides the bytes of each trained network: a digest of the inputs of its phase."""

from __future__ import annotations

from copy import deepcopy

from erde_cli.core.events import Role
from erde_cli.core.recipe.retired import as_before, as_now
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.storage.json_files import Json, digest_of

# Of the section data: where images lie, how they got there, and where they lie once decoded.
WHEREABOUTS = ("root", "download", "memory_limit")
# Keys that came later, and what a recipe without them means. At that value a key is in no digest,
# so that what was made before the key is kept. A new key is added here.
_BEFORE: Json = {
    "data.transparent": "ignore",
    "data.bit_depth": None,
    "data.frames": None,
    "training.teacher.class_weights": "none",
    "training.student.class_weights": "none",
    "calibration.metric": "accuracy",
    "distillation.unsure_above": 0.5,
    **{f"{role}.stem_stride": 1 for role in ("teacher", "student")},
    **{f"{role}.head_dropout": 0.5 for role in ("teacher", "student")},
}
_VERSION = 1  # raised when the same recipe would train another network


def relevant(recipe: Recipe, role: Role) -> Json:
    """The parts of a recipe that a role's training depends on, as a plain mapping.

    Where the images lie and how they got there does not matter; what they are is in the
    fingerprint of the splits.
    """
    shared = recipe.model_dump(include={"seed", "data"})
    if role == "teacher":
        own = recipe.model_dump(include={"teacher": True, "training": {"teacher"}})
    else:
        # Not the teacher's section: what it came to is in the digest of its weights.
        own = recipe.model_dump(
            include={"student": True, "distillation": True, "training": {"student"}}
        )
    return decisive({**shared, **own})


def decisive(recipe: Json) -> Json:
    """What of a recipe, or of some of its sections, decides a network, as before its later keys.

    Recipes, and with them runs and bundles, from before a key are then the same as with it.
    """
    kept = as_before(deepcopy(recipe))
    data = kept.get("data")
    if isinstance(data, dict):
        kept["data"] = data = {k: v for k, v in data.items() if k not in WHEREABOUTS}
        if data.get("frames") == "first":
            data["frames"] = None  # but for a warning
        if data.get("bit_depth") == 16:
            data["bit_depth"] = None
    for dotted, before in _BEFORE.items():
        section, key = _place(kept, dotted)
        if key in section and (section[key] == before or not _matters(kept, dotted)):
            del section[key]
    return kept


def as_meant(recipe: Json) -> Json:
    """A recipe, or some of its sections, from before some keys, with what it meant then."""
    full = as_now(deepcopy(recipe))
    for dotted, before in _BEFORE.items():
        section, key = _place(full, dotted)
        if section and _matters(full, dotted):
            section.setdefault(key, before)
    return full


def inputs_digest(recipe: Recipe, role: Role, fingerprint: str, teacher: str | None = None) -> str:
    """Digest of all that decides a network: recipe, images, and the teacher's weights.

    Args:
        recipe: the recipe.
        role: which of its networks.
        fingerprint: of the images and their splits.
        teacher: digest of the teacher's weights, for a student that has one.
    """
    parts = relevant(recipe, role)
    document = {"version": _VERSION, "recipe": parts, "images": fingerprint, "teacher": teacher}
    return digest_of(document)


def _place(recipe: Json, dotted: str) -> tuple[Json, str]:
    """The section that holds a key, empty where there is none, and the key's own name."""
    *sections, key = dotted.split(".")
    inner = recipe
    for section in sections:
        found = inner.get(section)
        inner = found if isinstance(found, dict) else {}
    return inner, key


def _matters(recipe: Json, dotted: str) -> bool:
    """Whether a key says anything: only files of one's own leave open how they become pixels."""
    return not dotted.startswith("data.") or recipe["data"].get("dataset") == "imagefolder"
