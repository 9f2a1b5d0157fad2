"""Networks and images that the benchmarks share."""

from __future__ import annotations

import numpy as np
import torch

from erde_cli.core.data.store import ImageStore
from erde_cli.core.models.architecture import Architecture, build_model, resolve_architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.recipe.sections.network import Network

CLASSES, SIZE = 10, 32
NETWORKS = {
    "ResNet-8": Network(depth=8, exits=[1, 2]),
    "ResNet-20": Network(depth=20, exits=[3, 6]),
    "WRN-16-2": Network(backbone="wrn", depth=16, widening=2, exits=[2, 4]),
}


def architecture(name: str) -> Architecture:
    """Architecture of one of `NETWORKS`."""
    return resolve_architecture(NETWORKS[name], CLASSES, SIZE)


def network(name: str) -> EarlyExitNet:
    """One of `NETWORKS`, always with the same weights."""
    return build_model(architecture(name), seed=1)


def random_images(count: int) -> ImageStore:
    """Random images; the speed does not depend on the content."""
    generator = np.random.Generator(np.random.Philox(1))
    images = generator.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    labels = torch.from_numpy(generator.integers(0, CLASSES, count))
    return ImageStore(torch.from_numpy(images), labels, np.arange(count))
