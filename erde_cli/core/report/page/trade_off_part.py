"""The trade-off: accuracy over expected MACs, with curves, bands, exits alone, chosen points."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from erde_cli.core.figures import macs, percent
from erde_cli.core.report.document import TradeCurve, TradeOffSection, TradePoint
from erde_cli.core.report.page.axes import macs_axis, macs_tick, plain_tick, share_axis
from erde_cli.core.report.page.charts import NARROW, WIDE, Chart, Series, figure, swatch
from erde_cli.core.report.page.markup import Markup, join, tag

_POINTS = 120  # of a curve
_SAME = 0.1  # relative difference of MACs below which one label is enough
_EXIT = re.compile(r"(.*), exit (\d+) of \d+(.*)", re.DOTALL)

Row = tuple[str, ...]


def trade_off_part(section: TradeOffSection) -> Markup:
    """The chart, with its legend and table; empty if there is nothing to draw."""
    if not section.curves and not section.points:
        return Markup("")
    drawn = _Drawn(section)
    title = (
        f"Accuracy over expected multiply-adds (MACs) on {section.images:,} {section.split} images"
    )
    chart = Chart(
        "trade-off", title, "expected MACs per image", "accuracy, %", drawn.series, macs_axis,
        share_axis, macs_tick, plain_tick, drawn.columns, drawn.rows, drawn.legend,
    )  # fmt: skip
    hint = f"{drawn.hint} {section.note}".rstrip()
    return join(figure(chart, (WIDE, NARROW)), tag("p", hint, class_="note"))


class _Drawn:
    """Series, legend and rows of the table, gathered in one order."""

    def __init__(self, section: TradeOffSection) -> None:
        self.series: list[Series] = []
        self.rows: list[Row] = []
        self.legend: list[tuple[str, Markup]] = []
        self._held_out = any(point.held_out for point in section.points)
        self._bands = any(curve.low is not None for curve in section.curves)
        self._styles: dict[str, int] = {}
        self._labelled: list[float] = []
        for curve in section.curves:
            self._curve(curve)
        for name, points in _groups(section.points).items():
            self._points(name, points)

    @property
    def columns(self) -> Row:
        """Heads of the table."""
        return (
            "network", "MACs", "accuracy %", "thresholds",
            *(("lowest %", "highest %") if self._bands else ()),
            *(("held out: MACs", "held out: accuracy %") if self._held_out else ()),
        )  # fmt: skip

    @property
    def hint(self) -> str:
        """How to read the chart."""
        parts = [
            "Point at a mark or a curve for its figures, or focus the chart and use arrow keys."
        ]
        if self._bands:
            parts.append("Bands: lowest to highest over seeds.")
        if self._held_out:
            parts.append("Rings: the same thresholds on images that did not choose them.")
        return " ".join(parts)

    def _style(self, name: str) -> int:
        """Style of a name; exits of a network have that of its first curve."""
        owner = name.partition(", ")[0]
        for known, style in self._styles.items():
            if known.partition(", ")[0] == owner and "calibrated" not in owner:
                return style
        return self._styles.setdefault(name, len(self._styles))

    def _row(self, name: str, at: tuple[float, float], *more: str) -> None:
        cells = (name, macs(at[0]), percent(at[1]), *more)
        self.rows.append(cells + ("-",) * (len(self.columns) - len(cells)))

    def _curve(self, curve: TradeCurve) -> None:
        count = len(curve.macs)
        if count == 0:
            return
        style = self._styles.setdefault(curve.name, len(self._styles))
        thinned = np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(int))
        kept = np.argsort(curve.macs, kind="stable")[thinned]  # arrow keys go from left to right
        points = [(float(curve.macs[i]), 100 * float(curve.accuracy[i])) for i in kept]
        band: list[tuple[float, float, float]] = []
        first = len(self.rows)
        for i in kept:
            more = [curve.thresholds[i] if curve.thresholds else "-"]
            if curve.low is not None and curve.high is not None:
                more += [percent(float(curve.low[i])), percent(float(curve.high[i]))]
                low, high = 100 * float(curve.low[i]), 100 * float(curve.high[i])
                band.append((float(curve.macs[i]), low, high))
            self._row(curve.name, (float(curve.macs[i]), float(curve.accuracy[i])), *more)
        self.series.append(Series(curve.name, points, style, first, band=band))
        self.legend.append((curve.name, swatch("line", style)))

    def _points(self, name: str, points: Sequence[tuple[str, TradePoint]]) -> None:
        kind = "star" if any(point.thresholds for _, point in points) else "mark"
        style, first = self._style(name), len(self.rows)
        at = [(point.macs, 100 * point.accuracy) for _, point in points]
        for _, point in points:
            more = [point.thresholds or "-", *(("-", "-") if self._bands else ())]
            if point.held_out:
                more += [macs(point.held_out[1]), percent(point.held_out[0])]
            self._row(point.name, (point.macs, point.accuracy), *more)
        labels = [self._label(label, point.macs) for label, point in points]
        self.series.append(Series(name, at, style, first, kind=kind, labels=labels))
        self.legend.append((name, swatch(kind, style)))
        for place, (_, point) in enumerate(points):
            if point.held_out:
                ring = [(point.held_out[1], 100 * point.held_out[0])]
                self.series.append(Series(name, ring, style, first + place, kind="ring"))
                self.legend.append(("the same, held out", swatch("ring", style)))

    def _label(self, label: str, macs: float) -> str:
        """A label, or none if another network's mark of about the same cost has one."""
        if any(abs(known - macs) < _SAME * macs for known in self._labelled):
            return ""
        if label:
            self._labelled.append(macs)
        return label


def _groups(points: Sequence[TradePoint]) -> dict[str, list[tuple[str, TradePoint]]]:
    """Points by the name of their network, with short labels: exits of one network are a group."""
    groups: dict[str, list[tuple[str, TradePoint]]] = {}
    for point in points:
        found = _EXIT.fullmatch(point.name)
        name, label = (f"{found[1]}, exits{found[3]}", found[2]) if found else (point.name, "")
        groups.setdefault(name, []).append((label, point))
    return groups
