"""Views of training images: what a network sees of image n in view v."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from erde_cli.core.arrays import IntArray
from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context


class TrainingViews(Protocol):
    """A train split of n images, as square uint8 views.

    The pixels of a view are a pure function of the image, its number, the seed and the view.
    """

    @property
    def labels(self) -> Tensor:
        """Label of each image, int64 [n], on the device of the views."""
        ...

    @property
    def numbers(self) -> IntArray:
        """Number of each image in its source, int64 [n]."""
        ...

    @property
    def side(self) -> int:
        """Side of a view, in pixels."""
        ...

    def on(self, context: Context) -> TrainingViews:
        """The same views on the context's device."""
        ...

    def batches(self, parts: Iterable[IntArray], seed: int, view: int) -> Iterator[Tensor]:
        """Views of one batch after the other, uint8 [batch, side, side, 3].

        Args:
            parts: positions of the images of each batch, int64 [batch].
            seed: of the augmentation.
            view: number of the view.
        """
        ...


class StoreViews:
    """Augmented views of images that all have the side of the views."""

    def __init__(self, store: ImageStore, augmentation: AugmentationPlan) -> None:
        self._store, self._augment = store, augmentation

    @property
    def labels(self) -> Tensor:
        """Label of each image, int64 [n], on the device of the views."""
        return self._store.labels

    @property
    def numbers(self) -> IntArray:
        """Number of each image in its source, int64 [n]."""
        return self._store.numbers

    @property
    def side(self) -> int:
        """Side of a view, in pixels."""
        return self._store.images.shape[2]

    def on(self, context: Context) -> StoreViews:
        """The same views on the context's device.

        An accelerator holds all images, unless TrivialAugment changes them on the CPU.
        """
        if self._augment.trivial:
            store = replace(self._store, labels=context.to_device(self._store.labels))
        else:
            store = self._store.on(context)
        return StoreViews(store, self._augment)

    def batches(self, parts: Iterable[IntArray], seed: int, view: int) -> Iterator[Tensor]:
        """Views of one batch after the other, uint8 [batch, side, side, 3]."""
        store = self._store
        for positions in parts:
            # A blocking copy would wait for all work that is queued on the device.
            rows = torch.from_numpy(store.rows_at(positions))
            rows = rows.to(store.images.device, non_blocking=True)
            images = self._augment(store.images, rows, store.numbers[positions], seed, view)
            store.release()
            yield images.to(store.labels.device, non_blocking=True)
