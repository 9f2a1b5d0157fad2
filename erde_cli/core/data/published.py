"""CIFAR-10, CIFAR-100 and SVHN, read from their published files by torchvision."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from erde_cli.core.arrays import BoolArray, ImageArray, IntArray
from erde_cli.core.data.published_files import published_splits, require_whole
from erde_cli.core.data.sources import Progress, to_array
from erde_cli.core.platform.torchvision_import import torchvision_datasets

_SIDE = 32  # pixels
_AT_ONCE = 4096  # images; keeps copies small


class PublishedSource:
    """A published data set, whole in memory: 32x32 colour images in their published order.

    Train comes first, then test, then the extra images of SVHN, which belong to train.

    Args:
        name: cifar10, cifar100 or svhn.
        root: folder of the published files.
        extra: include the extra images of svhn.

    Raises:
        DataError: a file is missing or corrupt. Checksums are compared before any file is
            unpickled.

    Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009; Netzer et al.,
    Reading digits in natural images with unsupervised feature learning, 2011.
    """

    def __init__(self, name: str, root: Path, *, extra: bool = False) -> None:
        require_whole(name, root, extra=extra)
        self.class_names, parts = _read(name, root, published_splits(extra=extra))
        self.labels: IntArray = np.concatenate([labels for _, labels in parts.values()])
        tested = [np.full(len(labels), split == "test") for split, (_, labels) in parts.items()]
        self.is_test: BoolArray | None = np.concatenate(tested)
        self.is_calibration = self.first_same = None
        self._parts = [images for images, _ in parts.values()]

    def digest(self) -> str:
        """SHA-256 of all class names, labels, splits and pixels."""
        total = hashlib.sha256("\0".join(self.class_names).encode())
        total.update(self.labels.astype("<i8").tobytes())
        total.update(np.asarray(self.is_test).tobytes())
        for images in self._parts:
            for start in range(0, len(images), _AT_ONCE):
                # One plane per colour is CIFAR's order in memory, so that it is not copied.
                planes = images[start : start + _AT_ONCE].transpose(0, 3, 1, 2)
                total.update(np.ascontiguousarray(planes).reshape(-1).data)
        return total.hexdigest()

    def read(
        self, numbers: IntArray, size: int, progress: Progress | None = None
    ) -> tuple[ImageArray, IntArray]:
        """Images, uint8 [n, size, size, 3], and their numbers [n]."""
        images = np.empty((len(numbers), size, size, 3), dtype=np.uint8)
        for start in range(0, len(numbers), _AT_ONCE):
            taken = self._take(numbers[start : start + _AT_ONCE])
            end = start + len(taken)
            images[start:end] = taken if size == _SIDE else _resized(taken, size)
            if progress is not None:
                progress(end, len(numbers))
        return images, numbers

    def _take(self, numbers: IntArray) -> ImageArray:
        """Images by their numbers, from all parts, uint8 [n, 32, 32, 3]."""
        taken = np.empty((len(numbers), _SIDE, _SIDE, 3), dtype=np.uint8)
        first = 0
        for images in self._parts:
            inside = (numbers >= first) & (numbers < first + len(images))
            taken[inside] = images[numbers[inside] - first]
            first += len(images)
        return taken


_Parts = dict[str, tuple[ImageArray, IntArray]]  # split: images [n, 32, 32, 3], labels [n]


def _read(name: str, root: Path, splits: tuple[str, ...]) -> tuple[tuple[str, ...], _Parts]:
    """Class names, and the images and labels of each split."""
    kind = getattr(torchvision_datasets(), name.upper())
    if name == "svhn":  # torchvision changes the label of the digit 0 from 10 to 0
        svhn = {split: kind(root, split) for split in splits}
        parts = {name: (it.data.transpose(0, 2, 3, 1), it.labels) for name, it in svhn.items()}
        return tuple(str(digit) for digit in range(10)), parts
    cifar = {split: kind(root, train=split == "train") for split in splits}
    parts = {name: (it.data, np.array(it.targets, np.int64)) for name, it in cifar.items()}
    return tuple(cifar["train"].classes), parts


def _resized(images: ImageArray, size: int) -> ImageArray:
    return np.stack([to_array(Image.fromarray(image), size) for image in images])
