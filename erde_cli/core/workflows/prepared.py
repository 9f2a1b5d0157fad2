"""A recipe's network before its first training step: weights, batches, objective."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batch, Batches
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.photo_views import PhotoAugmentation, PhotoViews
from erde_cli.core.data.shrinking import shrunk
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.streamed_views import StreamedViews
from erde_cli.core.data.views import StoreViews, TrainingViews
from erde_cli.core.device import Context
from erde_cli.core.events import Role
from erde_cli.core.models.architecture import Architecture, build_model, resolve_architecture
from erde_cli.core.models.backbone import fitted_layers
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.head_inputs import SplitNetwork, split_network
from erde_cli.core.models.library.weights import (
    FirstWeights,
    check_first_weights,
    load_first_weights,
)
from erde_cli.core.models.library.weights_source import library_normalisation
from erde_cli.core.models.parts import pretrained_stages
from erde_cli.core.randomness import derive_seed
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.class_weights import class_weights
from erde_cli.core.training.loop import Objective
from erde_cli.core.training.losses import distillation_terms, label_terms
from erde_cli.core.training.objectives import SumOfTerms
from erde_cli.core.training.state import TrainState

_FITTED_ON = 5000 * 32**2  # pixels of the images that layers are fitted to, as in airbench
Logits = Callable[[Batch], Tensor]  # of a teacher, float32 [batch, exits, classes]


@dataclass(frozen=True)
class Prepared:
    """A network with initial weights, and everything for its steps; `seed` is the network's.

    split: the two parts of a network of which only the heads are trained; `state` is then of the
    trained part, which shares its layers with `network`, and `batches` are still of images.
    """

    architecture: Architecture
    network: EarlyExitNet
    settings: Training
    state: TrainState
    batches: Batches
    objective: Objective
    seed: int
    context: Context
    first_weights: FirstWeights | None = None
    split: SplitNetwork | None = None

    @property
    def normalisation(self) -> Normalisation:
        """Normalisation of the network's input."""
        return self.batches.normalisation


def architecture_of(recipe: Recipe, role: Role, classes: int) -> Architecture:
    """Architecture of one of a recipe's networks."""
    return resolve_architecture(recipe.network_of(role), classes, recipe.image_size(role))


def check_weights(recipe: Recipe, role: Role, dataset: Dataset) -> None:
    """Check the first weights of one of a recipe's networks, before any training.

    Raises:
        InputError: they cannot be loaded.
        DownloadError: they cannot be downloaded.
    """
    classes = len(dataset.class_names)
    check_first_weights(recipe.network_of(role), classes, recipe.image_size(role))


def prepare(
    recipe: Recipe,
    role: Role,
    dataset: Dataset,
    train: ImageStore | None,
    context: Context,
    teacher: Callable[[Batches, int], Logits] | None = None,
    normalisation: Normalisation | None = None,
) -> Prepared:
    """Prepare one of a recipe's networks for training.

    Args:
        recipe: the recipe.
        role: teacher or student.
        dataset: the recipe's images.
        train: the decoded train split; None: its photos are decoded in every epoch.
        context: device and precision of the training.
        teacher: makes the teacher's logits from the student's batches and seed; None: no teacher.
        normalisation: to measure time without loading weights; None: that of the weights which the
            recipe names, else computed from the train images.

    Raises:
        InputError: the network cannot be built, or its weights cannot be loaded.
        DownloadError: its weights cannot be downloaded.
    """
    settings = recipe.training_of(role)
    network = recipe.network_of(role)
    loads_weights = network.has_weights and normalisation is None
    if loads_weights:
        mean, std = library_normalisation(network.backbone)
        normalisation = Normalisation.from_json({"mean": mean, "std": std})
    normalisation = normalisation or dataset.normalisation
    architecture = architecture_of(recipe, role, len(dataset.class_names))
    # Separate seeds: neither network depends on how long the other was trained.
    seed = derive_seed(recipe.seed, role)
    model = build_model(architecture, derive_seed(seed, "weights"))
    first = None
    if loads_weights:
        first = load_first_weights(model, architecture, network)
    for layer in fitted_layers(model):
        fitted_to = train or dataset.load("train")
        layer.fit(_some_images(fitted_to, normalisation, recipe.image_size(role)))
    context.place(model)
    images = _views(recipe, role, dataset, train, normalisation)
    batches = Batches(
        images, normalisation, settings.batch_size, seed, context, recipe.kept_views(role),
        recipe.image_size(role),
    )  # fmt: skip
    counts = images.labels.bincount(minlength=len(dataset.class_names)).tolist()
    weights = class_weights(settings, counts, dataset.class_names)
    objective = objective_of(
        recipe,
        role,
        seed,
        context,
        None if teacher is None else teacher(batches, seed),
        None if weights is None else context.to_device(torch.tensor(weights)),
    )
    split = None
    if settings.heads_only:
        split = split_network(
            model, architecture.image_size, last_kept=network.last_layer == "kept"
        )
        state = TrainState(split.trained, settings)
    else:
        state = train_state(model, network, settings)
    return Prepared(
        architecture, model, settings, state, batches, objective, seed, context, first, split
    )


def train_state(model: EarlyExitNet, network: Network, settings: Training) -> TrainState:
    """State of a network before its first step, with the parts frozen that are not trained.

    Args:
        model: the network, on the device.
        network: its section of the recipe.
        settings: of its training.
    """
    pretrained = None
    if network.has_weights:
        pretrained = pretrained_stages(model, last_kept=network.last_layer == "kept")
    return TrainState(model, settings, pretrained)


def objective_of(
    recipe: Recipe,
    role: Role,
    seed: int,
    context: Context,
    teacher: Logits | None,
    class_weights: Tensor | None = None,
) -> Objective:
    """Objective of one of a recipe's networks: labels, and a teacher's logits if it has one.

    Args:
        recipe: the recipe.
        role: teacher or student.
        seed: the network's seed.
        context: device and precision of the training.
        teacher: the teacher's logits; None: no teacher.
        class_weights: float32 [classes], on the device; None: all classes count the same.
    """
    network = recipe.network_of(role)
    exits = torch.tensor(network.exit_weights or [1.0] * network.exit_count)
    exit_weights = context.to_device(exits)
    smoothing = recipe.training_of(role).label_smoothing
    if teacher is None:
        return SumOfTerms(label_terms(smoothing), exit_weights, class_weights=class_weights)
    terms = distillation_terms(recipe.distillation, smoothing, seed=seed, rank=context.rank)
    return SumOfTerms(terms, exit_weights, teacher, recipe.pairing, class_weights)


def _some_images(train: ImageStore, normalisation: Normalisation, side: int) -> Tensor:
    """Evenly spaced train images, normalised, float32 [n, 3, side, side]."""
    most = max(1, _FITTED_ON // side**2)
    places = np.arange(0, len(train), max(1, math.ceil(len(train) / most)))
    images = train.take(places)
    if side != images.shape[1]:
        images = shrunk(images, side)
    scale, shift = normalisation.scale_and_shift()
    return (images.float() * scale - shift).permute(0, 3, 1, 2)


def _views(
    recipe: Recipe,
    role: Role,
    dataset: Dataset,
    train: ImageStore | None,
    normalisation: Normalisation,
) -> TrainingViews:
    """Views of the train images: augmented, or for features of one view as they are."""
    if recipe.plain_view(role):
        plain = AugmentationPlan(crop=0, flip=False, cutout=0)
        return StoreViews(train or dataset.load("train"), plain)
    data, settings = recipe.data, recipe.data.augmentation
    red, green, blue = (round(255 * value) for value in normalisation.mean)
    plan = AugmentationPlan(
        settings.crop, data.flips, settings.cutout, (red, green, blue), settings.trivial_augment
    )
    if settings.resized_crop is None:
        return StoreViews(train or dataset.load("train"), plan)
    augmentation = PhotoAugmentation(
        data.image_size, settings.resized_crop, data.interpolation, plan
    )
    files, photos = dataset.photo_files(), dataset.photos()
    if files is not None:
        return StreamedViews(files, augmentation)
    assert photos is not None  # noqa: S101
    return PhotoViews(photos, augmentation)
