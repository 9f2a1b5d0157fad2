"""The picture of a confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from erde_cli.core.arrays import FloatArray
from erde_cli.core.events import Observer
from erde_cli.core.inference.by_class import ByClass
from erde_cli.core.storage.pictures import INK, OTHER, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELLS = 20  # most classes whose numbers are readable in a matrix
_PAIRS = 20  # pairs shown for more classes
_LONGEST = 24  # characters of a name
_DARK = 55  # per cent from which dark text is not readable


def draw_confusion(path: Path, title: str, counts: ByClass, observer: Observer) -> Path | None:
    """Draw the matrix, or the most confused pairs of more than 20 classes, as `draw` does."""
    make = _matrix if len(counts.class_names) <= _CELLS else _pairs
    return draw(path, lambda: make(title, counts), observer)


def _matrix(title: str, counts: ByClass) -> Figure:
    from matplotlib.figure import Figure

    shares = _row_shares(counts)
    names = [_short(name) for name in counts.class_names]
    side = max(5.4, 3.6 + 0.36 * len(names))
    figure = Figure(figsize=(side, side - 0.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), share in np.ndenumerate(shares):
        if counts.confusion[row, column]:
            colour = "white" if share >= _DARK else INK
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=8, c=colour)
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(ticks, names, fontsize=8, parse_math=False)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    _head(axes, f"{title}\n% of the images of each class")
    axes.tick_params(length=0)
    return figure


def _pairs(title: str, counts: ByClass) -> Figure:
    from matplotlib.figure import Figure

    shares = _row_shares(counts)
    pairs = _most_confused(counts, shares)
    figure = Figure(figsize=(7.2, 6.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(pairs))
    axes.barh(places, [shares[pair] for pair in pairs], color=OTHER, height=0.7)
    for place, pair in enumerate(pairs):
        label = f" {counts.confusion[pair]:,} of {counts.images[pair[0]]:,}"
        axes.text(shares[pair], place, label, va="center", fontsize=8, color=INK)
    names = [_short(name) for name in counts.class_names]
    labels = [f"{names[row]} → {names[column]}" for row, column in pairs]
    axes.set_yticks(places, labels, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    axes.set_xlabel("% of the images of the true class")
    _head(axes, f"{title}\nmost confused: true class → answer")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _head(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left", parse_math=False)


def _row_shares(counts: ByClass) -> FloatArray:
    """Per cent of each true class's images, [classes, classes]; 0 for a class without images."""
    shares: FloatArray = 100 * counts.confusion / np.maximum(1, counts.images)[:, None]
    return shares


def _most_confused(counts: ByClass, shares: FloatArray) -> list[tuple[int, int]]:
    """Pairs (true class, wrong answer), by decreasing share, then by decreasing images."""
    wrong = counts.confusion * ~np.eye(len(shares), dtype=np.bool_)
    rows, columns = np.nonzero(wrong)
    order = np.lexsort((-wrong[rows, columns], -shares[rows, columns]))[:_PAIRS]
    return [(int(rows[i]), int(columns[i])) for i in order]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
