"""Batches of normalised images, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from erde_cli.core.context import Context
from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.store import ImageStore, Normalisation, Normaliser
from erde_cli.core.randomness import permutation


@dataclass(frozen=True)
class Batch:
    """images: normalised [batch, 3, height, width]. labels: int64 [batch]."""

    images: Tensor
    labels: Tensor


class Batches:
    """Augmented training batches of one epoch after the other; the images lie on the device.

    The images that do not fill a last batch are left out of that epoch: another order leaves out
    others, and a batch of one has no batch statistics.
    """

    def __init__(
        self,
        store: ImageStore,
        normalisation: Normalisation,
        augmentation: AugmentationPlan,
        batch_size: int,
        seed: int,
        context: Context,
    ) -> None:
        self._store = store
        self._augment = augmentation
        self._padded = context.to_device(augmentation.pad(store.images))
        self._labels = context.to_device(store.labels)
        self._normalise = Normaliser(normalisation, store.images.shape[2], context)
        self._seed = seed
        self.batch_size = min(batch_size, len(store))

    def __len__(self) -> int:
        return len(self._store) // self.batch_size

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Give the batches of an epoch."""
        order = permutation(len(self._store), self._seed, "order", epoch)
        for step in range(len(self)):
            places = order[step * self.batch_size : (step + 1) * self.batch_size]
            rows = torch.from_numpy(places).to(self._labels.device)
            numbers = self._store.numbers[places]
            images = self._augment(self._padded, rows, numbers, self._seed, epoch)
            yield Batch(self._normalise(images), self._labels[rows])


def evaluation_batches(
    store: ImageStore, normalisation: Normalisation, context: Context, batch_size: int = 256
) -> Iterator[Batch]:
    """All images of a store once, in order, never augmented."""
    normalise = Normaliser(normalisation, store.images.shape[2], context)
    for images, labels in zip(
        torch.split(store.images, batch_size), torch.split(store.labels, batch_size), strict=True
    ):
        yield Batch(normalise(context.to_device(images)), context.to_device(labels))
