"""Test images by class: accuracy, where a class leaves, and confusion of every exit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from erde_cli.core.arrays import FloatArray
from erde_cli.core.figures import percent
from erde_cli.core.report.class_table import class_table
from erde_cli.core.report.document import ClassesSection
from erde_cli.core.report.page.explorer_part import exit_shade, share_rects
from erde_cli.core.report.page.markup import Markup, join, tag
from erde_cli.core.report.page.table_parts import table

_CELLS = 20  # most classes whose counts are readable in a matrix
_MAP = 200  # most classes with a map of shares
_BARS = 200  # most classes with a bar each
_VISIBLE = 4  # least shade of a cell that is only a few pixels large
_PAIRS = 20  # pairs of more classes
_LEVELS = (0.0, 0.01, 0.03, 0.08, 0.2, 0.5)  # share of the class above which a shade begins


def classes_part(section: ClassesSection) -> Markup:
    """The table of classes, then a matrix for every exit, folded."""
    exits = len(section.confusion)
    matrices = []
    if section.adaptive is not None:
        matrices.append(("Confusion under the thresholds", section.adaptive))
    for i in range(exits):
        matrices.append(
            (f"Confusion of exit {i + 1} of {exits}, for all images", section.confusion[i])
        )
    return join(
        _class_table(section),
        [
            _folded(title, counts, section.names, f"confusion-{place}", opened=place == 0)
            for place, (title, counts) in enumerate(matrices)
        ],
    )


def _class_table(section: ClassesSection) -> Markup:
    columns, rows = class_table(section)
    left, name = section.left, "classes-table"
    if left is None or len(rows) > _BARS:
        return table("Classes", columns, rows, name=name, sortable=True)
    with_bars = [[*row, _bar(shares)] for row, shares in zip(rows, left, strict=True)]
    drawn = table("Classes", [*columns, "where they leave"], with_bars, name=name, sortable=True)
    return join(_exit_legend(len(section.confusion)), drawn)


def _bar(shares: FloatArray) -> Markup:
    return tag(
        "svg", share_rects(shares.tolist(), 100), viewBox="0 0 100 10",
        preserveAspectRatio="none", class_="class-bar", aria_hidden="true",
    )  # fmt: skip


def _exit_legend(exits: int) -> Markup:
    """Colours of the exits in bars."""
    return tag(
        "ul",
        [
            tag(
                "li",
                tag(
                    "svg", tag("rect", width=14, height=10, class_=f"e{exit_shade(i, exits)}"),
                    viewBox="0 0 14 10", class_="key", aria_hidden="true",
                ),
                f"leave at exit {i + 1}",
            )
            for i in range(exits)
        ],
        class_="legend",
    )  # fmt: skip


def _folded(
    title: str, counts: FloatArray, names: Sequence[str], name: str, *, opened: bool
) -> Markup:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if len(names) <= _CELLS:
        inner = join(
            _matrix(title, counts, shares, names),
            tag("p", "Images. Rows: true class. Columns: answer. Shade: share of the class.",
                class_="note"),
        )  # fmt: skip
    else:
        inner = join(
            _map(title, shares) if len(names) <= _MAP else "", _pairs(title, counts, shares, names)
        )
    return tag(
        "details", tag("summary", title), tag("div", inner, class_="confusion"), id=name,
        open=opened,
    )  # fmt: skip


def _matrix(title: str, counts: FloatArray, shares: FloatArray, names: Sequence[str]) -> Markup:
    """The matrix as a table: right answers in one hue, wrong ones in another."""
    rows = []
    for true, name in enumerate(names):
        cells = [
            tag(
                "td",
                f"{counts[true, answer]:.0f}" if counts[true, answer] else "",
                class_=_shade(float(shares[true, answer]), true == answer),
            )
            for answer in range(len(names))
        ]
        rows.append(tag("tr", tag("th", name, scope="row"), cells))
    heads = [tag("th", tag("span", name), scope="col") for name in names]
    drawn = tag(
        "table",
        tag("caption", title, class_="unseen"),
        tag("thead", tag("tr", tag("td", "true ↓ answer →", class_="corner"), heads)),
        tag("tbody", rows),
        class_="matrix",
    )
    return tag("div", drawn, class_="scroll", tabindex=0, role="group", aria_label=title)


def _level(share: float) -> int:
    """Shade of a share, 1 to 6; 0 for none."""
    return sum(share > limit for limit in _LEVELS)


def _shade(share: float, right: bool) -> str | None:
    level = _level(share)
    return f"{'r' if right else 'w'}{level}" if level else None


def _map(title: str, shares: FloatArray) -> Markup:
    """The matrix as a map of shades, one path for each shade."""
    cells: dict[str, list[str]] = {}
    for true, answer in np.argwhere(shares > 0).tolist():
        right, level = true == answer, max(_level(float(shares[true, answer])), _VISIBLE)
        cells.setdefault(f"{'r' if right else 'w'}{level}", []).append(f"M{answer},{true}h1v1h-1z")
    count = len(shares)
    drawn = tag(
        "svg",
        tag("rect", width=count, height=count, class_="paper"),
        [tag("path", d="".join(paths), class_=kind) for kind, paths in sorted(cells.items())],
        viewBox=f"0 0 {count} {count}", role="img", class_="map", shape_rendering="crispEdges",
        aria_label=f"{title}: a map. The most confused classes are in the table.",
    )  # fmt: skip
    note = "Rows from the top: true class. Columns: answer. Blue: right. Orange: wrong."
    return tag("figure", drawn, tag("figcaption", note, class_="note"), class_="map-box")


def _pairs(title: str, counts: FloatArray, shares: FloatArray, names: Sequence[str]) -> Markup:
    """The most confused pairs, by decreasing share of the true class."""
    wrong = counts * ~np.eye(len(counts), dtype=np.bool_)
    true, answer = np.nonzero(wrong)
    order = np.lexsort((-wrong[true, answer], -shares[true, answer]))[:_PAIRS]
    rows = [
        (
            names[true[i]],
            names[answer[i]],
            f"{counts[true[i], answer[i]]:,.0f}",
            percent(float(shares[true[i], answer[i]]), 1),
        )
        for i in order
    ]
    columns = ("true class", "answer", "images", "% of the class")
    return table(f"{title}: most confused", columns, rows)
