"""Which images belong to train, calibration and test: disjoint, and a function of the images."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.arrays import IntArray
from erde_cli.core.data.sources import ImageSource
from erde_cli.core.errors import DataError
from erde_cli.core.randomness import permutation
from erde_cli.core.recipe.sections.data import Data

Split = Literal["train", "calibration", "test"]
SPLITS: tuple[Split, ...] = ("train", "calibration", "test")

_LARGE_TRAIN = 10_000  # images in train from which calibration has at least ...
_LEAST_CALIBRATION = 1_000  # ... this many


def carve(source: ImageSource, settings: Data) -> dict[Split, IntArray]:
    """Numbers of the images of each split.

    A split that has a folder of its own is what lies there; of the calibration split, files that
    lie in train as well are left out. What is carved out is drawn from one of each identical
    images, and takes the others along, so that no file is in two splits.

    Raises:
        DataError: a class has too few images.
    """
    every = np.arange(len(source.labels), dtype=np.int64)
    first = every if source.first_same is None else source.first_same
    rest = every if source.is_test is None else every[~source.is_test]
    test = every[:0] if source.is_test is None else every[source.is_test]
    if source.is_test is None:
        own = rest if source.is_calibration is None else rest[~source.is_calibration]
        count = round(settings.test_fraction * len(own))
        kept, test = _drawn(own, first, source, count, settings.split_seed, "test")
        rest = kept if source.is_calibration is None else rest[~np.isin(rest, test)]
    if source.is_calibration is not None:
        given = source.is_calibration[rest]
        train, calibration = rest[~given], rest[given]
        taken = np.isin(first[calibration], first[np.concatenate([train, test])])
        if taken.all():
            raise _no_calibration("all of its images are in train or test as well")
        return {"train": train, "calibration": calibration[~taken], "test": test}
    count = round(settings.calibration_fraction * len(rest))
    if len(rest) >= _LARGE_TRAIN:
        count = max(count, _LEAST_CALIBRATION)
    train, calibration = _drawn(rest, first, source, count, settings.split_seed, "calibration")
    if not len(calibration):
        raise _no_calibration("what could be drawn lies in the folders of two classes")
    return {"train": train, "calibration": calibration, "test": test}


def _no_calibration(got: str) -> DataError:
    return DataError(
        "No image is left for the calibration split, since copies are kept in one split.",
        got=got,
        expected="images of each class that lie nowhere else",
        hint="remove the copies, or add images",
    )


def _drawn(
    numbers: IntArray, first: IntArray, source: ImageSource, count: int, seed: int, purpose: str
) -> tuple[IntArray, IntArray]:
    """Split off about `count` images, identical ones together: (what stays, what is split off).

    Raises:
        DataError: a class has too few images, or all of them are the same.
    """
    labels, sizes = source.labels[numbers], _sizes(numbers, source)
    poor = [source.class_names[label] for label in np.flatnonzero(sizes < 2)]
    # One of each content in each class: as many images as there are, where no file is a copy.
    _, places = np.unique(first[numbers] * len(sizes) + labels, return_index=True)
    units = numbers[np.sort(places)]
    if poor or not (_sizes(units, source) > 1).any():
        raise _too_few(poor or list(source.class_names), len(sizes), purpose)
    wanted = round(count * len(units) / len(numbers))
    drawn = _stratified(units, source, wanted, seed, purpose)
    # What is in two classes is split off if all of it was drawn.
    contents = np.setdiff1d(first[units[drawn]], first[units[~drawn]])
    chosen = np.isin(first[numbers], contents)
    return numbers[~chosen], numbers[chosen]


def _too_few(names: list[str], classes: int, purpose: str) -> DataError:
    """Nothing can be split off of some classes."""
    others = classes - len(names)
    return DataError(
        f"Too few images to split off a {purpose} split.",
        got=f"one image or none is left, copies not counted, in {', '.join(map(repr, names[:10]))}",
        expected="three images or more of every class, one for each split; ten to be of use",
        hint="add images of those classes" + ", or remove their folders" * (others > 1),
    )


def _sizes(numbers: IntArray, source: ImageSource) -> IntArray:
    """Images of each class, int64 [classes]."""
    counts: IntArray = np.bincount(source.labels[numbers], minlength=len(source.class_names))
    return counts


def _stratified(
    numbers: IntArray, source: ImageSource, count: int, seed: int, purpose: str
) -> NDArray[np.bool_]:
    """Which of some images are split off, bool [images]: of each class its share.

    Largest remainders fill up to `count`; every class that has two images gives at least one, and
    keeps one.
    """
    labels = source.labels[numbers]
    sizes = _sizes(numbers, source)
    exact = sizes * (count / len(numbers))
    shares = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(shares - exact, kind="stable")
    shares[by_remainder[: count - int(shares.sum())]] += 1
    shares = np.clip(shares, 1, np.maximum(sizes - 1, 0)) * (sizes > 1)
    order = permutation(len(numbers), seed, f"split/{purpose}")
    chosen = np.zeros(len(numbers), dtype=bool)
    for label, share in enumerate(shares):
        chosen[order[labels[order] == label][:share]] = True
    return chosen
