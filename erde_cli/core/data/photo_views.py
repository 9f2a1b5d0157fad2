"""Views of photos: random crops of photos that are kept larger than a view.

A photo is kept as a square of S x S pixels, together with its aspect ratio. A random crop is drawn
in the photo's true shape, mapped to the square and resized, so that the view has the true aspect
ratio. Only the kept resolution differs between the longer and the shorter side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erde_cli.core.arrays import Float32Array, ImageArray, IntArray
from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.seeded_transforms import Crop, random_crop, resized
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context
from erde_cli.core.randomness import derive_seed


@dataclass(frozen=True)
class PhotoAugmentation:
    """Augmentation of a photo; its view is a pure function of (photo, ratio, number, seed, view).

    side: of a view, in pixels. smallest: smallest share of the photo's area in a crop.
    interpolation: bilinear or bicubic. after: what happens to the resized crop.

    Source: Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6; aspect ratios
    from 3/4 to 4/3, as in torchvision's RandomResizedCrop.
    """

    side: int
    smallest: float
    interpolation: str
    after: AugmentationPlan

    def view_of(
        self, photo: ImageArray, ratio: float, number: int, seed: int, view: int
    ) -> ImageArray:
        """One view of a photo, uint8 [side, side, 3].

        Args:
            photo: squashed to a square, uint8 [S, S, 3].
            ratio: width / height of the photo before that.
            number: of the photo in its source.
            seed: the run's seed.
            view: number of the view.
        """
        key = derive_seed(seed, "augmentation/resized_crop", view, number)
        crop = _square_crop(len(photo), ratio, self.smallest, key)
        image = torch.from_numpy(resized(photo, crop, self.side, self.interpolation))
        first, numbers = torch.zeros(1, dtype=torch.int64), np.array([number], np.int64)
        return self.after(image[None], first, numbers, seed, view)[0].numpy()


@dataclass(frozen=True)
class Photos:
    """Photos of a split, squashed to squares.

    store: uint8 [n, S, S, 3], labels and numbers. ratios: width / height of each photo before
    that, float32 [n].
    """

    store: ImageStore
    ratios: Float32Array


class PhotoViews:
    """Views of photos, made on the CPU by as many threads as the context has."""

    def __init__(self, photos: Photos, augmentation: PhotoAugmentation) -> None:
        self._photos, self._augmentation = photos, augmentation
        self._labels = photos.store.labels
        self._threads = 1

    @property
    def labels(self) -> Tensor:
        """Label of each image, int64 [n], on the device of the views."""
        return self._labels

    @property
    def numbers(self) -> IntArray:
        """Number of each image in its source, int64 [n]."""
        return self._photos.store.numbers

    @property
    def side(self) -> int:
        """Side of a view, in pixels."""
        return self._augmentation.side

    def on(self, context: Context) -> PhotoViews:
        """The same views on the context's device; the photos stay in the file that is mapped."""
        views = PhotoViews(self._photos, self._augmentation)
        views._labels = context.to_device(self._labels)
        views._threads = context.threads
        return views

    def batches(self, parts: Iterable[IntArray], seed: int, view: int) -> Iterator[Tensor]:
        """Views of one batch after the other, uint8 [batch, side, side, 3]."""
        store, side = self._photos.store, self.side
        with ThreadPoolExecutor(self._threads, "views") as pool:
            for positions in parts:
                images = torch.empty((len(positions), side, side, 3), dtype=torch.uint8)
                shares = zip(
                    np.array_split(positions, self._threads),
                    np.array_split(images.numpy(), self._threads),
                    strict=True,
                )
                work = [pool.submit(self._fill, *share, seed, view) for share in shares]
                for done in work:
                    done.result()
                store.release()
                yield images.to(self._labels.device, non_blocking=True)

    def _fill(self, positions: IntArray, views: ImageArray, seed: int, view: int) -> None:
        """Write the views of some photos to an array, uint8 [photos, side, side, 3]."""
        store, ratios = self._photos.store, self._photos.ratios
        photos, rows = store.images.numpy(), store.rows_at(positions)
        for at, row, place in zip(positions, rows, views, strict=True):
            number = int(store.numbers[at])
            place[:] = self._augmentation.view_of(
                photos[row], float(ratios[at]), number, seed, view
            )


def _square_crop(side: int, ratio: float, smallest: float, seed: int) -> Crop:
    """A random crop, drawn in a photo's true shape, in pixels of the square of `side` pixels."""
    height, width = round(side * max(1.0, 1 / ratio)), round(side * max(1.0, ratio))
    crop = random_crop(height, width, smallest, seed)
    top, rows = _mapped(crop.top, crop.height, side / height, side)
    left, columns = _mapped(crop.left, crop.width, side / width, side)
    return Crop(top, left, rows, columns)


def _mapped(start: int, length: int, scale: float, side: int) -> tuple[int, int]:
    """Start and length of an interval at another scale, in whole pixels, at least one."""
    first = min(round(start * scale), side - 1)
    return first, max(1, round((start + length) * scale) - first)
