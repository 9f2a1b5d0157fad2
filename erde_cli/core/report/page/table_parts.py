"""Tables in boxes that scroll, so that the page does not."""

from __future__ import annotations

import re
from collections.abc import Sequence

from erde_cli.core.report.page.markup import Markup, join, tag

_NUMBER = re.compile(
    r"[-+−]?[\d.,]+( ?(%|k|M|G|ms|to [-+−]?[\d.,]+|± ?[\d.,]+))*|[-–—]|never|always|"
)

_LONG = 30  # letters that stay on one line


def table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    name: str | None = None,
    sortable: bool = False,
) -> Markup:
    """A table in a box that scrolls. Cells of numbers are aligned to the right, texts to the left.

    Args:
        caption: read to those who cannot see it; the heading above says it to others.
        columns: heads.
        rows: cells, as text or markup; the first cell of a row names it.
        name: id of the table.
        sortable: whether heads are buttons that sort.
    """
    kinds = [_kind([row[place] for row in rows], place) for place in range(len(columns))]
    heads = [
        tag(
            "th",
            tag("button", text, type="button", class_="sort") if sortable else text,
            scope="col",
            class_=kinds[place],
        )
        for place, text in enumerate(columns)
    ]
    body = [_row(row, kinds) for row in rows]
    drawn = tag(
        "table",
        tag("caption", caption, class_="unseen"),
        tag("thead", tag("tr", heads)),
        tag("tbody", body),
        id=name,
    )
    return tag("div", drawn, class_="scroll", tabindex=0, role="group", aria_label=caption)


def _is_number(cell: str) -> bool:
    return not isinstance(cell, Markup) and _NUMBER.fullmatch(cell.strip()) is not None


def _kind(cells: Sequence[str], place: int) -> str | None:
    """Class of a column: none for numbers, of which there are most; long texts may break."""
    if place > 0 and cells and all(map(_is_number, cells)):
        return None
    longest = max((len(cell) for cell in cells if not isinstance(cell, Markup)), default=0)
    return "t long" if longest > _LONG else "t"


def _row(row: Sequence[str], kinds: Sequence[str | None]) -> Markup:
    cells = [tag("td", cell, class_=kinds[place]) for place, cell in enumerate(row[1:], 1)]
    return tag("tr", tag("th", row[0], scope="row", class_=kinds[0]), cells)


def folded_table(
    name: str, caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> Markup:
    """A table that opens on demand, for the figures of a chart."""
    inner = join(tag("summary", "Table"), table(caption, columns, rows, name=name))
    return tag("details", inner, class_="figures")


def facts(pairs: Sequence[tuple[str, str]], kind: str) -> Markup:
    """Names with their values."""
    return tag(
        "dl",
        [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs],
        class_=kind,
    )
