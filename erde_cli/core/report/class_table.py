"""Figures of each class as a table, for the page and the card."""

from __future__ import annotations

import numpy as np

from erde_cli.core.arrays import FloatArray
from erde_cli.core.figures import percent
from erde_cli.core.report.document import ClassesSection


def class_table(section: ClassesSection) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: images of each class, how many are right, where they leave."""
    exits = range(len(section.confusion))
    columns = ["class", "images", *(f"exit {i + 1}: right %" for i in exits)]
    shares = [_recall(counts) for counts in section.confusion]
    if section.adaptive is not None:
        columns.append("with θ: right %")
        shares.append(_recall(section.adaptive))
    if section.left is not None:
        columns += [f"leave at {i + 1} %" for i in exits]
        shares += list(section.left.T)
    images = section.confusion[0].sum(axis=1)
    rows = []
    for place, name in enumerate(section.names):
        count = images[place]
        cells = [percent(float(one[place]), 1) if count else "-" for one in shares]
        rows.append([name, f"{count:,.0f}", *cells])
    return columns, rows


def _recall(confusion: FloatArray) -> FloatArray:
    """Share of each class's images that are right, [classes]; 0 without images."""
    shares: FloatArray = confusion.diagonal() / np.maximum(confusion.sum(axis=1), 1)
    return shares
