"""A chart as SVG, with a legend and a table of its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from erde_cli.core.report.page.axes import Axis
from erde_cli.core.report.page.markup import Markup, join, number, tag
from erde_cli.core.report.page.table_parts import folded_table

STYLES = 7  # colours; styles past them repeat with another line

# A mark as a path from its centre.
_MARKS = (
    "m-4.5,0a4.5,4.5 0 1 0 9,0a4.5,4.5 0 1 0 -9,0z",
    "m-4,-4h8v8h-8z",
    "m0,-5.2l5,8.7h-10z",
    "m0,5.2l5,-8.7h-10z",
    "m0,-5.6l5.6,5.6l-5.6,5.6l-5.6,-5.6z",
    "m-4.5,-1.5h3v-3h3v3h3v3h-3v3h-3v-3h-3z",
    "m0,-5.4l5.1,3.7l-2,6.1h-6.2l-2,-6.1z",
)
STAR = "m0,-9l2.1,6.1l6.4,0.1l-5.1,3.9l1.9,6.2l-5.3,-3.7l-5.3,3.7l1.9,-6.2l-5.1,-3.9l6.4,-0.1z"
RING = "m-6,0a6,6 0 1 0 12,0a6,6 0 1 0 -12,0z"


@dataclass(frozen=True)
class Series:
    """Points [(x, y)] of one name, in the order of their rows in the table.

    style: number of its colour, line and mark. first_row: of the table. column: of the values if
    a row holds several series. labels: short texts next to marks. band: (x, low, high).
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: int
    first_row: int = 0
    column: int | None = None
    kind: str = "line"
    labels: Sequence[str] = ()
    band: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True)
class Chart:
    """What a chart shows. x_axis, y_axis: from values and two pixels to an axis."""

    name: str
    title: str
    x_title: str
    y_title: str
    series: Sequence[Series]
    x_axis: Callable[[Sequence[float], float, float], Axis]
    y_axis: Callable[[Sequence[float], float, float], Axis]
    x_tick: Callable[[float], str]
    y_tick: Callable[[float], str]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    legend: Sequence[tuple[str, Markup]] = field(default=())


@dataclass(frozen=True)
class Size:
    """Pixels of a chart, and its class: `wide`, `narrow` or `small`."""

    width: int
    height: int
    kind: str


WIDE, NARROW, SMALL = Size(1016, 420, "wide"), Size(344, 330, "narrow"), Size(344, 210, "small")
_LEFT, _RIGHT, _BOTTOM = 50, 14, 40
_TOPS = 14, 28  # without and with a name of the y axis
_MOST = 10  # ticks of x
_TICK, _LETTER = 26, 7.0  # pixels between ticks of x, at least, and of a letter of their texts


def figure(chart: Chart, sizes: Sequence[Size]) -> Markup:
    """A chart in each size (the style sheet shows one), its legend and its table."""
    table = f"{chart.name}-table"
    return tag(
        "figure",
        tag("figcaption", chart.title),
        _legend(chart) if len(chart.series) > 1 or chart.legend else "",
        [svg(chart, size, table) for size in sizes],
        folded_table(table, chart.title, chart.columns, chart.rows),
        class_="chart",
    )


def svg(chart: Chart, size: Size, table: str, *extra: Markup, kind: str = "") -> Markup:
    """The drawing. Its paths name the rows of the table, from which the script reads figures."""
    xs = [x for one in chart.series for x, _ in one.points]
    ys = [y for one in chart.series for _, y in one.points]
    ys += [y for one in chart.series for _, *both in one.band for y in both]
    across = chart.x_axis(xs, _LEFT, size.width - _RIGHT)
    up = chart.y_axis(ys, size.height - _BOTTOM, _TOPS[bool(chart.y_title)])
    return tag(
        "svg",
        _frame(chart, size, across, up),
        [_band(one, across, up) for one in chart.series if one.band],
        [_drawn(one, across, up) for one in chart.series],
        extra,
        viewBox=f"0 0 {size.width} {size.height}",
        class_=f"{size.kind} {kind}".strip(),
        role="group",
        tabindex=0,
        aria_label=f"{chart.title}. Arrow keys: points and curves.",
        data_table=table,
        data_x=f"{across.low!r} {across.high!r} {across.start} {across.end}",
        data_log="1" if across.logarithmic else None,
        data_y=f"{up.low!r} {up.high!r} {up.start} {up.end}",
    )


def _frame(chart: Chart, size: Size, across: Axis, up: Axis) -> Markup:
    bottom, right = size.height - _BOTTOM, size.width - _RIGHT
    room = _TICK + _LETTER * len(chart.x_tick(across.high))
    parts = []
    for value in up.ticks(max(4, int(bottom - up.end) // 44)):
        y = up.at(value)
        parts.append(tag("path", d=f"M{_LEFT},{number(y)}H{right}", class_="grid"))
        parts.append(_text(chart.y_tick(value), _LEFT - 7, y + 4, "end"))
    for value in across.ticks(min(max(2, int((right - _LEFT) / room)), _MOST)):
        x = across.at(value)
        parts.append(tag("path", d=f"M{number(x)},{bottom}v4", class_="axis"))
        parts.append(_text(chart.x_tick(value), x, bottom + 17, "middle"))
    parts.append(tag("path", d=f"M{_LEFT},{bottom}H{right}", class_="axis"))
    parts.append(_text(chart.x_title, right, size.height - 5, "end", "name"))
    title = ", ".join(filter(None, (chart.y_title, "log scale" if up.logarithmic else "")))
    parts.append(_text(title, 2, 10, "start", "name") if title else Markup(""))
    return tag("g", parts, aria_hidden="true")


def _text(text: str, x: float, y: float, anchor: str, kind: str | None = None) -> Markup:
    return tag("text", text, x=x, y=y, text_anchor=anchor, class_=kind)


def _band(series: Series, across: Axis, up: Axis) -> Markup:
    upper = [(x, high) for x, _, high in series.band]
    lower = [(x, low) for x, low, _ in reversed(series.band)]
    ends = (f"{number(across.at(x))},{number(up.at(y))}" for x, y in (*upper, *lower))
    return tag("path", d=f"M{'L'.join(ends)}z", class_=f"band c{series.style % STYLES}")


def _drawn(series: Series, across: Axis, up: Axis) -> Markup:
    at = [(number(across.at(x)), number(up.at(y))) for x, y in series.points]
    rows: dict[str, str | float | None] = {
        "data_row": series.first_row,
        "data_column": series.column,
    }
    colour = f"c{series.style % STYLES}"
    if series.kind == "line":
        path = "M" + "L".join(f"{x},{y}" for x, y in at) + ("h0" if len(at) == 1 else "")
        kind = "dot" if len(at) == 1 else _dash(series.style)
        return tag("path", d=path, class_=f"line {colour} {kind}", **rows)
    shape = {"star": STAR, "ring": RING}.get(series.kind, _MARKS[series.style % len(_MARKS)])
    path = "".join(f"M{x},{y}{shape}" for x, y in at)
    texts = [
        _text(label, float(x) + 8, float(y) + 4, "start", "mark-label")
        for label, (x, y) in zip(series.labels, at, strict=False)
        if label
    ]
    return join(tag("path", d=path, class_=f"{series.kind} {colour}", **rows), texts)


def _dash(style: int) -> str:
    return f"dash{(style + style // STYLES) % 4}"


def swatch(kind: str, style: int) -> Markup:
    """A small drawing of a line or a mark, for legends."""
    colour = f"c{style % STYLES}"
    if kind == "line":
        drawn = tag("path", d="M1,8H27", class_=f"line {colour} {_dash(style)}".strip())
    else:
        shape = {"star": STAR, "ring": RING}.get(kind, _MARKS[style % len(_MARKS)])
        drawn = tag("path", d=f"M14,8{shape}", class_=f"{kind} {colour}")
    return tag("svg", drawn, viewBox="0 0 28 17", class_="swatch", aria_hidden="true")


def _legend(chart: Chart) -> Markup:
    entries = chart.legend or [(one.name, swatch(one.kind, one.style)) for one in chart.series]
    return tag("ul", [tag("li", drawn, name) for name, drawn in entries], class_="legend")
