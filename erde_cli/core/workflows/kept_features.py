"""`train: heads`: features computed once for every view, then batches of them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from safetensors.torch import save

from erde_cli.core.data.batches import Batches, evaluation_batches
from erde_cli.core.data.store import ImageStore
from erde_cli.core.events import Role
from erde_cli.core.inference.answers import Answers
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.head_inputs import HeadInputs
from erde_cli.core.recipe.packages import library_version
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.storage.json_files import Json
from erde_cli.core.training.features import ComputedFeatures, FeatureAnswers, feature_inputs
from erde_cli.core.training.view_cache import KeptViews
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.prepared import Prepared
from erde_cli.core.workflows.view_caches import context_key, open_cache, pixels_key


def kept_features(
    prepared: Prepared,
    recipe: Recipe,
    role: Role,
    fingerprint: str,
    tuning_images: ImageStore,
    options: Options,
) -> tuple[Batches, Callable[[EarlyExitNet], Answers]]:
    """Compute the features that are not kept yet, before the first epoch, so that Ctrl-C stops it.

    Args:
        prepared: the network, split in two.
        recipe: the recipe.
        role: which of its networks.
        fingerprint: of the images and their splits.
        tuning_images: evaluated after every epoch.
        options: its observer receives the size of the cache, and the progress.

    Returns:
        Batches of features, and a function that evaluates the trained part on `tuning_images`.

    Raises:
        InputError: the disk has no room for the cache.
    """
    split, batches, context = prepared.split, prepared.batches, prepared.context
    assert split is not None  # noqa: S101 (the caller has checked it)
    views = min(recipe.kept_views(role) or 1, prepared.settings.epochs)
    key = {
        "images": fingerprint,
        **_frozen_key(prepared, split.frozen),
        **pixels_key(recipe, role, batches, prepared.seed),
        **context_key(context, batches),
    }
    shape = (len(batches.numbers), split.row)
    cache = open_cache("features", "Features that the heads read", key, shape, views, options)
    compute = ComputedFeatures(split.frozen, context)
    kept = KeptViews(compute, batches, cache, "Features", options.observer)
    kept.fill(views)
    answers = FeatureAnswers(
        compute,
        evaluation_batches(tuning_images, prepared.normalisation, context),
        (len(tuning_images), split.row),
        cache.folder,
        options.observer,
    )
    return batches.with_inputs(feature_inputs(kept, context)), answers


def _frozen_key(prepared: Prepared, frozen: HeadInputs) -> Json:
    """Everything of a network that decides its features: structure, and tensors that are frozen."""
    architecture = prepared.architecture.to_json()
    names = ("backbone", "cuts", "head", "stem", "image_size")
    state = {name: value.cpu().contiguous() for name, value in frozen.state_dict().items()}
    return {
        "architecture": {name: architecture[name] for name in names},
        "weights": sha256(save(state)).hexdigest(),
        "library": library_version(prepared.architecture.backbone),
    }
