"""What decides the bytes of each trained network: a digest of the inputs of its phase."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from erde_cli.core.errors import InputError
from erde_cli.core.events import Role
from erde_cli.core.platform.extras import require_extra
from erde_cli.core.provenance import versions_of
from erde_cli.core.recipe.backbones import LIBRARIES
from erde_cli.core.recipe.packages import package_version
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.recipe.sections.data import CROP_SHARE, Data
from erde_cli.core.storage.files import digest_of_file
from erde_cli.core.storage.json_files import Json, digest_of

# Keys of the section data that decide no pixel: where images lie, and how they got there.
WHEREABOUTS = ("root", "download", "memory_limit", "disk_limit")
# Values that give the same pixels as null, without a warning.
_SAME_AS_NULL = {"bit_depth": 16, "frames": "first", "crop_share": CROP_SHARE}
_VERSION = 1  # raised when the same recipe would train another network


def comparable(recipe: Recipe) -> Json:
    """All keys that make a recipe another one: not its name or licence, nor where images lie."""
    return _decisive(recipe).model_dump(exclude={"name", "license", "comparison"})


def relevant(recipe: Recipe, role: Role, *, exclude_defaults: bool = False) -> Json:
    """The parts of a recipe that a role's training depends on, as a plain mapping.

    The teacher's section is no part of the student's: the digest of the teacher's weights covers
    it. The fingerprint of the splits covers the images.
    """
    sections = ("teacher",) if role == "teacher" else ("student", "distillation")
    parts: dict[str, bool | dict[str, bool]] = {"seed": True, "data": True}
    parts |= {**dict.fromkeys(sections, True), "training": {role: True}}
    return _decisive(recipe).model_dump(include=parts, exclude_defaults=exclude_defaults)


def inputs_digest(recipe: Recipe, role: Role, fingerprint: str, teacher: str | None = None) -> str:
    """Digest of everything that decides a network: recipe, images, and the teacher's weights.

    Keys at their defaults are left out, so a new key leaves digests unchanged if its default
    changes nothing. Raise `_VERSION` when a default changes.

    Args:
        recipe: the recipe.
        role: which of its networks.
        fingerprint: of the images and their splits.
        teacher: digest of the teacher's weights, for a student that has one.
    """
    parts = relevant(recipe, role, exclude_defaults=True)
    network = recipe.network_of(role)
    if network.weights is not None:
        parts[role]["weights"] = _digest_of_weights(Path(network.weights))
    package = package_version(network.backbone)
    if package:  # another version can build another network
        parts[role]["package"] = package
    libraries = _libraries(recipe, role)
    if libraries:  # another version can bring other weights, networks and transforms
        parts[role]["library"] = versions_of(*libraries)
    document = {"version": _VERSION, "recipe": parts, "images": fingerprint, "teacher": teacher}
    return digest_of(document)


def _libraries(recipe: Recipe, role: Role) -> list[str]:
    """The libraries that decide bytes: that of the network, and torchvision for its transforms.

    Raises:
        InputError: timm is needed and missing.
    """
    library = recipe.network_of(role).backbone.partition("/")[0]
    if library == "timm":
        require_extra("timm", "A backbone of timm")
    needed = {library} & {*LIBRARIES}
    data = recipe.data
    transforms = data.photo_side is not None or data.augmentation.trivial_augment
    if transforms and not recipe.plain_view(role):
        needed.add("torchvision")
    return sorted(needed)


def _decisive(recipe: Recipe) -> Recipe:
    """The same recipe in the form that all recipes of the same meaning share.

    Keys of `data` that decide no pixel are at their defaults, and null stands for the values that
    it means.
    """
    update: dict[str, Any] = {"data": _decisive_data(recipe.data)}
    training: dict[str, Any] = {}
    for role in ROLES:
        network, settings = recipe.network_of(role), recipe.training_of(role)
        same: dict[str, Any] = {}
        if network.weights is not None:  # the content decides, not the folder
            same["weights"] = Path(network.weights).name
        if network.image_size == recipe.data.image_size:
            same["image_size"] = None
        update[role] = network.model_copy(update=same)
        null = {"views": 1, "heads_first": 0}
        equal = [key for key, value in null.items() if getattr(settings, key) == value]
        training[role] = settings.model_copy(update=dict.fromkeys(equal))
    update["training"] = recipe.training.model_copy(update=training)
    if recipe.training.student.heads_only:  # the views of the features are those of the logits
        cache = recipe.distillation.teacher_cache.model_copy(update={"views": None})
        update["distillation"] = recipe.distillation.model_copy(update={"teacher_cache": cache})
    return recipe.model_copy(update=update)


def _decisive_data(data: Data) -> Data:
    same = [key for key, value in _SAME_AS_NULL.items() if getattr(data, key) == value]
    if data.photo_size == data.model_copy(update={"photo_size": None}).photo_side:
        same.append("photo_size")
    defaults = {key: Data.model_fields[key].default for key in (*WHEREABOUTS, *same)}
    return data.model_copy(update=defaults)


def _digest_of_weights(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a pipe or a device can be endless
            raise OSError(errno.EINVAL, "it is not a regular file")
        return digest_of_file(path)
    except OSError as error:
        raise InputError(
            f"The file of weights {path} cannot be read: {error.strerror}.",
            expected="a safetensors file, or a state dict that PyTorch has saved",
            hint="correct weights in the recipe; the path is relative to the recipe",
        ) from error
