"""Batches of normalised images, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from erde_cli.core.arrays import IntArray
from erde_cli.core.data.normalisation import Normalisation, Normaliser
from erde_cli.core.data.shrinking import shrunk
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import TrainingViews
from erde_cli.core.device import Context, images_at_once
from erde_cli.core.randomness import permutation

Inputs = Callable[[IntArray, int], Tensor]  # of the images at positions [batch], in a view


@dataclass(frozen=True)
class Batch:
    """images: normalised [batch, 3, height, width], or other inputs. labels: int64 [batch].

    rows: positions of the images in the split, int64 [batch]. view: number of their augmentation.
    whole: makes the normalised views of which the images are smaller copies; None: the images are
    the views.
    """

    images: Tensor
    labels: Tensor
    rows: IntArray
    view: int = 0
    whole: Callable[[], Tensor] | None = None


class Batches:
    """Augmented training batches, epoch by epoch. The images lie on the device.

    Images that do not fill a last batch are left out of that epoch. Each epoch has its own order,
    so each leaves out other images; a batch of one would have no batch statistics.

    Of several processes, each gets its share of every batch: `batch_size` counts those of all.
    """

    def __init__(
        self,
        images: TrainingViews,
        normalisation: Normalisation,
        batch_size: int,
        seed: int,
        context: Context,
        views: int | None = None,
        image_size: int | None = None,
    ) -> None:
        """Take view e of every image in epoch e, or view e mod `views`.

        Raises:
            InputError: the processes cannot share a batch equally.

        `image_size` is the side of the network's input, in pixels; None: that of the views. The
        images are the views, shrunk to it.
        """
        self._images = images.on(context)
        self._image_size = images.side if image_size is None else image_size
        self._views = views
        # On a CPU the model uses all cores: one more thread made ResNet-8 a fifth slower.
        self._ahead = context.device.type != "cpu"
        self.normalisation = normalisation
        self._normalise_view = Normaliser(normalisation, images.side, context)
        self._normalise = Normaliser(normalisation, self._image_size, context)
        self._seed = seed
        self._inputs: Inputs | None = None
        self._count = len(images.numbers)
        self.batch_size = min(batch_size, self._count)
        self.engine = context.engine
        self.engine.require_shares(self.batch_size)

    @property
    def numbers(self) -> IntArray:
        """Number of each image in its source, in the order of the split, int64 [images]."""
        return self._images.numbers

    @property
    def view_side(self) -> int:
        """Side of a view, in pixels; a network's images can be smaller."""
        return self._images.side

    @property
    def device(self) -> torch.device:
        """Device of the batches."""
        return self._images.labels.device

    def with_inputs(self, inputs: Inputs) -> Batches:
        """The same batches with `inputs` in place of images; `in_order` still yields images."""
        other = copy(self)
        other._inputs = inputs
        return other

    def __len__(self) -> int:
        return self._count // self.batch_size

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, starting with number `first`."""
        order = permutation(self._count, self._seed, "order", epoch)
        view = epoch if self._views is None else epoch % self._views
        size = self.batch_size
        own = size // self.engine.world_size
        starts = [step * size + self.engine.rank * own for step in range(first, len(self))]
        parts = [order[start : start + own] for start in starts]
        others = self._inputs
        batches = self._batches(parts, view) if others is None else self._of(others, parts, view)
        yield from _one_ahead(batches) if self._ahead else batches

    def in_order(self, view: int, batch_size: int) -> Iterator[Batch]:
        """Yield one view of every image once, in the order of the split."""
        positions = np.arange(self._count)
        starts = range(0, self._count, batch_size)
        yield from self._batches([positions[at : at + batch_size] for at in starts], view)

    def _batches(self, parts: list[IntArray], view: int) -> Iterator[Batch]:
        labels = self._images.labels
        pixels = self._images.batches(parts, self._seed, view)
        for positions, images in zip(parts, pixels, strict=True):
            rows = torch.from_numpy(positions).to(labels.device, non_blocking=True)
            whole = None
            if self._image_size != self.view_side:
                whole = partial(self._normalise_view, images)
                images = shrunk(images, self._image_size)
            yield Batch(self._normalise(images), labels[rows], positions, view, whole)

    def _of(self, inputs: Inputs, parts: list[IntArray], view: int) -> Iterator[Batch]:
        """Batches of inputs that stand in place of images."""
        labels = self._images.labels
        for positions in parts:
            rows = torch.from_numpy(positions).to(labels.device, non_blocking=True)
            yield Batch(inputs(positions, view), labels[rows], positions, view)


def _one_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Prepare the next batch while the model works on this one."""
    with ThreadPoolExecutor(1, "next batch") as pool:
        upcoming = pool.submit(next, batches, None)
        while (batch := upcoming.result()) is not None:
            upcoming = pool.submit(next, batches, None)
            yield batch


def evaluation_batches(
    store: ImageStore,
    normalisation: Normalisation,
    context: Context,
    batch_size: int | None = None,
) -> Iterator[Batch]:
    """Yield every image of a store once, in order, without augmentation.

    Args:
        store: images and labels.
        normalisation: of the images.
        context: where the network runs.
        batch_size: images per batch; None: a size that suits the device.
    """
    batch_size = batch_size or images_at_once(store.images.shape[2], context.device)
    normalise = Normaliser(normalisation, store.images.shape[2], context)
    positions = np.arange(len(store))
    for start in range(0, len(store), batch_size):
        part = slice(start, start + batch_size)
        images = context.to_device(store.part(start, batch_size))
        yield Batch(normalise(images), context.to_device(store.labels[part]), positions[part])
