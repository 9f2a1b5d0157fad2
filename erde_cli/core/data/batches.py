"""Batches of normalised images, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.normalisation import Normalisation, Normaliser
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context, images_at_once
from erde_cli.core.randomness import permutation


@dataclass(frozen=True)
class Batch:
    """images: normalised [batch, 3, height, width]. labels: int64 [batch].

    rows: the images' places in the store, int64 [batch]. view: which augmentation they had.
    """

    images: Tensor
    labels: Tensor
    rows: NDArray[np.int64]
    view: int = 0


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
        views: int | None = None,
    ) -> None:
        """Epoch e shows view e of every image, or view e mod `views`."""
        self._store = store.on(context)
        self._views = views
        # On a CPU the model has all cores already: a thread beside it cost ResNet-8 a fifth.
        self._ahead = context.device.type != "cpu"
        self._augment = augmentation
        self.normalisation = normalisation
        self._normalise = Normaliser(normalisation, store.images.shape[2], context)
        self._seed = seed
        self.batch_size = min(batch_size, len(store))

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Each image's number in its source, in the order of the store, int64 [images]."""
        return self._store.numbers

    def __len__(self) -> int:
        return len(self._store) // self.batch_size

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Give the batches of an epoch, from number `first` on."""
        order = permutation(len(self._store), self._seed, "order", epoch)
        view = epoch if self._views is None else epoch % self._views
        size = self.batch_size
        parts = [order[step * size : (step + 1) * size] for step in range(first, len(self))]
        if self._ahead:
            yield from self._prepared_ahead(parts, view)
            return
        for part in parts:
            yield self._batch(part, view)

    def _prepared_ahead(self, parts: list[NDArray[np.int64]], view: int) -> Iterator[Batch]:
        """Prepare the next batch while the model works on this one."""
        if not parts:
            return
        with ThreadPoolExecutor(1, "next batch") as beside:
            coming = beside.submit(self._batch, parts[0], view)
            for part in parts[1:]:
                batch, coming = coming.result(), beside.submit(self._batch, part, view)
                yield batch
            yield coming.result()

    def in_order(self, view: int, batch_size: int) -> Iterator[Batch]:
        """Give one view of every image once, in the order of the store."""
        everything = np.arange(len(self._store))
        for start in range(0, len(everything), batch_size):
            yield self._batch(everything[start : start + batch_size], view)

    def _batch(self, places: NDArray[np.int64], view: int) -> Batch:
        store = self._store
        device = store.labels.device
        # A copy that blocks would wait for all that the device has been given to do.
        rows = torch.from_numpy(store.places(places)).to(device, non_blocking=True)
        images = self._augment(store.images, rows, store.numbers[places], self._seed, view)
        store.release()
        labels = store.labels[torch.from_numpy(places).to(device, non_blocking=True)]
        return Batch(self._normalise(images), labels, places, view)


def evaluation_batches(
    store: ImageStore,
    normalisation: Normalisation,
    context: Context,
    batch_size: int | None = None,
) -> Iterator[Batch]:
    """All images of a store once, in order, never augmented; as many at once as suit the device."""
    batch_size = batch_size or images_at_once(store.images.shape[2], context.device)
    normalise = Normaliser(normalisation, store.images.shape[2], context)
    everything = np.arange(len(store))
    for start in range(0, len(store), batch_size):
        part = slice(start, start + batch_size)
        images = context.to_device(store.part(start, batch_size))
        yield Batch(normalise(images), context.to_device(store.labels[part]), everything[part])
