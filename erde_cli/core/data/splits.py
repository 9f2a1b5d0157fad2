"""The images of train, calibration and test: disjoint, and a function of the images."""

from __future__ import annotations

from typing import Literal

import numpy as np

from erde_cli.core.arrays import BoolArray, IntArray
from erde_cli.core.data.sources import ImageSource
from erde_cli.core.errors import DataError
from erde_cli.core.randomness import permutation
from erde_cli.core.recipe.sections.data import Data

Split = Literal["train", "calibration", "test"]
SPLITS: tuple[Split, ...] = ("train", "calibration", "test")

_LARGE_TRAIN = 10_000  # with as many images in train, calibration has at least ...
_LEAST_CALIBRATION = 1_000  # ... this many


def carve(source: ImageSource, settings: Data) -> dict[Split, IntArray]:
    """Numbers of the images of each split, int64 [images of the split].

    A split with its own folder consists of the files there. Calibration files that also lie in
    train or test are left out. Other splits are drawn at random; copies of an image are drawn
    together, so that no image is in two splits.

    Raises:
        DataError: a class has too few images, or no image is left for calibration.
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
            raise _no_calibration("all of its images are also in train or test")
        return {"train": train, "calibration": calibration[~taken], "test": test}
    count = round(settings.calibration_fraction * len(rest))
    if len(rest) >= _LARGE_TRAIN:
        count = max(count, _LEAST_CALIBRATION)
    train, calibration = _drawn(rest, first, source, count, settings.split_seed, "calibration")
    if not len(calibration):
        raise _no_calibration("all images that could be drawn are in the folders of two classes")
    return {"train": train, "calibration": calibration, "test": test}


def _no_calibration(got: str) -> DataError:
    return DataError(
        "No image is left for the calibration split, because copies are kept in one split.",
        got=got,
        expected="images of each class that are in no other folder",
        hint="remove the copies, or add images",
    )


def _drawn(
    numbers: IntArray, first: IntArray, source: ImageSource, count: int, seed: int, purpose: str
) -> tuple[IntArray, IntArray]:
    """Draw about `count` images, copies together; return the images left and those drawn.

    Raises:
        DataError: a class has too few images, or only copies of one.
    """
    labels, sizes = source.labels[numbers], _sizes(numbers, source)
    small = [source.class_names[label] for label in np.flatnonzero(sizes < 2)]
    # One image per content and class; without copies these are all images.
    _, places = np.unique(first[numbers] * len(sizes) + labels, return_index=True)
    distinct = numbers[np.sort(places)]
    if small or not (_sizes(distinct, source) > 1).any():
        raise _too_few(small or list(source.class_names), len(sizes), purpose)
    count = round(count * len(distinct) / len(numbers))
    drawn = _stratified(distinct, source, count, seed, purpose)
    # A content that is in two classes leaves only if it was drawn in both.
    contents = np.setdiff1d(first[distinct[drawn]], first[distinct[~drawn]])
    chosen = np.isin(first[numbers], contents)
    return numbers[~chosen], numbers[chosen]


def _too_few(names: list[str], classes: int, purpose: str) -> DataError:
    others = classes - len(names)
    return DataError(
        f"Too few images for a {purpose} split.",
        got=f"at most one image, copies not counted, in {', '.join(map(repr, names[:10]))}",
        expected="at least three images per class, one for each split; ten or more to be useful",
        hint="add images of those classes" + ", or remove their folders" * (others > 1),
    )


def _sizes(numbers: IntArray, source: ImageSource) -> IntArray:
    """Images of each class, int64 [classes]."""
    counts: IntArray = np.bincount(source.labels[numbers], minlength=len(source.class_names))
    return counts


def _stratified(
    numbers: IntArray, source: ImageSource, count: int, seed: int, purpose: str
) -> BoolArray:
    """Mask of the images drawn, bool [images]: the same share of every class.

    Largest remainders fill up to `count`. Of a class with two images or more, at least one is drawn
    and at least one is left.
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
