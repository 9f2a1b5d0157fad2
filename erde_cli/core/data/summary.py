"""Summary of a recipe's images, shown before training: classes, splits, copies, odd files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from erde_cli.core.arrays import IntArray
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.folder_layout import some_names
from erde_cli.core.data.folders import FolderSource
from erde_cli.core.data.sources import ImageSource
from erde_cli.core.data.splits import SPLITS
from erde_cli.core.events import Table
from erde_cli.core.images.passed_over import PassedOver
from erde_cli.core.images.pixels import pixel_warnings

_SHOWN = 20  # classes in the table; of more, only the largest and the smallest
_FEW = 3  # largest and smallest classes shown
_NAMED = 3  # files named in a warning

Examples = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Repeats:
    """Numbers of files with the same content as another one.

    files: copies that are not counted below. in_test: test files that are also in train or
    calibration. in_calibration: files of the calibration folder that are left out because train or
    test has them. between_classes: files that are also in the folder of another class.
    test_examples, class_examples: paths of some of them, each with that of the copied file.
    """

    files: int = 0
    in_test: int = 0
    in_calibration: int = 0
    between_classes: int = 0
    test_examples: Examples = ()
    class_examples: Examples = ()


@dataclass(frozen=True)
class DataSummary:
    """The images of a recipe.

    counts: images of each class in each split, int64 [classes, 3]. origins: where calibration and
    test come from. unreadable: number of files that cannot be decoded. pixel_warnings: about the
    pixels of files.
    """

    class_names: tuple[str, ...]
    counts: IntArray
    origins: dict[str, str]
    unreadable: int
    repeats: Repeats
    passed_over: PassedOver
    pixel_warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """The object `data` of `--json`."""
        rows = zip(self.class_names, self.counts.tolist(), strict=True)
        return {
            "classes": [
                {"class_name": name, **dict(zip(SPLITS, row, strict=True))} for name, row in rows
            ],
            "origins": self.origins,
            "unreadable": self.unreadable,
            "repeats": vars(self.repeats),
            "passed_over": self.passed_over.to_json(),
        }

    def table(self) -> Table:
        """The summary as a table: images per class and split."""
        counts, number = self.counts, "{:,}".format
        rows = [(n, *map(number, row)) for n, row in zip(self.class_names, counts, strict=True)]
        if len(rows) > _SHOWN:
            order = np.argsort(-counts.sum(axis=1), kind="stable")
            middle = (f"{len(rows) - 2 * _FEW} more classes", "…", "…", "…")
            first, last = ([rows[i] for i in part] for part in (order[:_FEW], order[-_FEW:]))
            rows = [*first, middle, *last]
        total = ("all", *map(number, counts.sum(axis=0)))
        origins = [f"{split}: {origin}" for split, origin in self.origins.items()]
        return Table("Images", ("class", *SPLITS), (*rows, total), (*origins, *self._lines()))

    def warnings(self) -> list[str]:
        """What the user should check before training."""
        repeats = self.repeats
        lines = self._odd_classes()
        if repeats.in_test:
            lines.append(
                f"Test images that are also in train or calibration: {repeats.in_test:,}. "
                f"Accuracies on them are too high.{_named(repeats.test_examples)}"
            )
        if repeats.between_classes:
            lines.append(
                f"Images that are also in the folder of another class: "
                f"{repeats.between_classes:,}. One of the labels is wrong."
                f"{_named(repeats.class_examples)}"
            )
        return [*lines, *self.passed_over.advice(), *self.pixel_warnings]

    def _odd_classes(self) -> list[str]:
        lines = []
        for split, column in zip(SPLITS, self.counts.T, strict=True):
            empty = [self.class_names[label] for label in np.flatnonzero(column == 0)]
            if empty:
                lines.append(f"Classes without images in {split}: {some_names(empty)}.")
        folded = Counter(name.casefold() for name in self.class_names)
        similar = [name for name in self.class_names if folded[name.casefold()] > 1]
        if similar:
            lines.append(f"Classes whose names differ only in case: {some_names(similar)}.")
        return lines

    def _lines(self) -> list[str]:
        repeats = self.repeats
        lines = []
        if repeats.files:
            lines.append(f"copies of other files, kept in one split: {repeats.files:,}")
        if repeats.in_calibration:
            left_out = repeats.in_calibration
            lines.append(f"left out of calibration, because also in train or test: {left_out:,}")
        if repeats.in_test:
            lines.append(f"in test, but also in train or calibration: {repeats.in_test:,}")
        if self.unreadable:
            lines.append(f"unreadable: {self.unreadable:,}")
        return lines + self.passed_over.lines()


def summarise(dataset: Dataset) -> DataSummary:
    """Count the images of a data set by class and split, and find copies and odd files."""
    source = dataset.source
    folder = source if isinstance(source, FolderSource) else None
    unreadable = np.array(sorted(folder.decoded.unreadable) if folder else [], dtype=np.int64)
    counts = [
        np.bincount(
            source.labels[np.setdiff1d(dataset.splits[split], unreadable)],
            minlength=len(source.class_names),
        )
        for split in SPLITS
    ]
    return DataSummary(
        dataset.class_names,
        np.stack(counts, axis=1),
        _origins(source),
        len(unreadable),
        _repeats(dataset),
        folder.passed_over if folder else PassedOver(),
        pixel_warnings(folder.decoded.traits, folder.rules) if folder else [],
    )


def _origins(source: ImageSource) -> dict[str, str]:
    calibration = "drawn at random from train"
    if isinstance(source, FolderSource) and source.calibration is not None:
        calibration = f"the folder {source.calibration.folder}/"
    if source.is_test is None:
        test = "drawn at random from all images"
    elif isinstance(source, FolderSource):
        test = "the folder test/"
    else:
        test = "as published"
    return {"calibration": calibration, "test": test}


def _repeats(dataset: Dataset) -> Repeats:
    source, splits = dataset.source, dataset.splits
    first = source.first_same
    if first is None:
        return Repeats()
    copies = int((first != np.arange(len(first))).sum())
    others = np.concatenate([splits["train"], splits["calibration"]])
    in_test = splits["test"][np.isin(first[splits["test"]], first[others])]
    left_out = len(first) - sum(len(splits[split]) for split in SPLITS)
    between = np.flatnonzero(source.labels != source.labels[first])
    return Repeats(
        copies - len(in_test) - left_out,
        len(in_test),
        left_out,
        len(between),
        _examples(source, in_test, first),
        _examples(source, between, first),
    )


def _examples(source: ImageSource, numbers: IntArray, first: IntArray) -> Examples:
    """Paths of some files, each with that of the first file of the same content."""
    if not isinstance(source, FolderSource):
        return ()
    paths = source.paths
    return tuple((paths[number], paths[first[number]]) for number in numbers[:_NAMED])


def _named(examples: Examples) -> str:
    return "".join(f"\n  {path} has the content of {same}" for path, same in examples)
