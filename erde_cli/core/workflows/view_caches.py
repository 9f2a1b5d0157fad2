"""Caches by view: their keys, and the cache opened after its size was shown."""

from __future__ import annotations

import torch

from erde_cli.core.data.batches import Batches
from erde_cli.core.data.sources import rules_of
from erde_cli.core.device import Context
from erde_cli.core.events import Role
from erde_cli.core.figures import byte_size, counted
from erde_cli.core.provenance import versions_of
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.storage.cache import cache_folder, temporary_folder, writable_folder
from erde_cli.core.storage.json_files import Json, digest_of
from erde_cli.core.training.view_cache import SMALL, ViewCache, images_per_part
from erde_cli.core.workflows.options import Options


def open_cache(
    folder: str, what: str, key: Json, shape: tuple[int, ...], views: int, options: Options
) -> ViewCache:
    """Open a cache for `views` views, and show its size.

    Args:
        folder: name of the folder in erde's cache.
        what: name of the values, for the note.
        key: everything that the values depend on.
        shape: of a view, [images, ...].
        views: number of views.
        options: its observer receives the size.

    Raises:
        InputError: the disk has no room for the cache.
    """
    root = cache_folder(folder)
    if root is None or ViewCache.at(root, key, shape).missing(views):
        root = writable_folder(folder, options.observer) or temporary_folder()
    cache = ViewCache.at(root, key, shape)
    missing, size = cache.missing(views), byte_size(views * cache.bytes_per_view)
    cache.open(missing * cache.bytes_per_view)
    there = f"{views - missing} of {views} views there" if missing else "all there"
    options.observer.note(
        f"{what}: {size} for {counted(views, 'view')}, {there}, in {cache.folder}"
    )
    return cache


def pixels_key(recipe: Recipe, role: Role, batches: Batches, seed: int) -> Json:
    """Everything that determines the pixels of the views that a network is trained on."""
    data = recipe.data
    key: Json = {
        "numbers": digest_of(batches.numbers.tolist()),
        "image_size": data.image_size,
        "rules": rules_of(data).decisive(),
        "normalisation": batches.normalisation.to_json(),
        "augmentation": None,
        "seed": 0,
    }
    if recipe.plain_view(role):  # the same pixels for every seed
        return key
    if data.photo_side is not None:
        key |= {"photo_side": data.photo_side, "interpolation": data.interpolation}
    if data.photo_side is not None or data.augmentation.trivial_augment:
        key |= versions_of("torchvision", "pillow")
    return {
        **key,
        "augmentation": {**data.augmentation.model_dump(), "flip": data.flips},
        "seed": seed,
    }


def context_key(context: Context, batches: Batches) -> Json:
    """Everything of the device and its settings that decides the values of a network.

    The size of a batch can decide the last bits. For small images it is constant, and no part of
    the key.
    """
    key: Json = {
        "device": context.device.type,
        "precision": context.precision,
        "memory_format": context.layout,
        "torch": torch.__version__,
    }
    return key if batches.view_side <= SMALL else {**key, "batch": images_per_part(batches)}
