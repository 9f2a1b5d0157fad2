"""The sliders for θ: controls, figures, a chart and the command, with the data of the script."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import numpy as np

from erde_cli.core.figures import macs, milliseconds, percent, theta
from erde_cli.core.report.document import Explorer
from erde_cli.core.report.page.axes import macs_axis, macs_tick, plain_tick, share_axis
from erde_cli.core.report.page.charts import SMALL, STAR, Chart, Series, svg
from erde_cli.core.report.page.explorer_figures import (
    POSITIONS,
    ExplorerFigures,
    figures_under,
    position_of,
    theta_at,
    theta_word,
)
from erde_cli.core.report.page.markup import Markup, join, tag
from erde_cli.core.report.page.table_parts import folded_table

_FIGURES = (("accuracy", "accuracy"), ("macs", "expected MACs"), ("saved", "MACs saved"))
_CURVE = 50  # points of the curve of one θ for all exits
UNCERTIFIED = "Uncertified: chosen by eye on these images. Other images can give other figures."


def explorer_part(explorer: Explorer, where: str = "") -> Markup:
    """Controls and figures, as they are at the calibrated thresholds.

    Args:
        explorer: what they need.
        where: in which folder the command works, or "".
    """
    start = explorer.thresholds or (0.0,) * (len(explorer.costs) - 1)
    found = figures_under(explorer, start)
    return join(
        tag("p", _about(explorer), class_="note"),
        tag("noscript", tag("p", "The sliders need JavaScript.", class_="notice")),
        tag(
            "div",
            tag("div", _controls(explorer, start, found), _command(explorer, start, where)),
            tag("div", _figures(explorer, found), _chart(explorer, found), class_="results"),
            class_="explorer",
        ),
        _data(explorer),
    )


def _about(explorer: Explorer) -> str:
    count, every = len(explorer.scores), explorer.all_images
    images = (
        f"{count:,} images" if count == every else f"a fixed part, {count:,} of {every:,} images,"
    )
    return (
        f"On {images} of the calibration split ({explorer.images_of}); test images are never used "
        f"to choose. An image leaves at the first exit whose {explorer.score} ({explorer.unit}) is "
        "below θ; the last exit takes the rest."
    )


def _controls(explorer: Explorer, start: Sequence[float], found: ExplorerFigures) -> Markup:
    exits = len(explorer.costs)
    rows = [
        _slider("all", "θ for all exits", start, explorer, ""),
        *(
            _slider(str(i), f"θ of exit {i + 1} of {exits}", start[i : i + 1], explorer, rate)
            for i, rate in enumerate(_rates(found)[:-1])
        ),
        tag(
            "div",
            tag("span", f"exit {exits} of {exits}", class_="label"),
            tag("span", "takes the rest", class_="rest"),
            tag("output", _rates(found)[-1], id=f"rate-{exits - 1}"),
            class_="row",
        ),
    ]
    return join(
        tag("div", tag("span", ""), tag("span", "θ"), tag("span", "images"), class_="row heads"),
        rows,
        _rate_bar(found.rates),
        tag("p", _state(explorer), id="state", aria_live="polite", class_="state"),
    )


def _rates(found: ExplorerFigures) -> list[str]:
    return [f"{percent(rate, 1)} %" for rate in found.rates]


def _slider(name: str, label: str, start: Sequence[float], explorer: Explorer, rate: str) -> Markup:
    shown = theta(start[0]) if len(set(start)) == 1 else "differ"
    drawn = tag(
        "input", type="range", id=f"theta-{name}", min=0, max=POSITIONS, step=1,
        value=position_of(start[0], explorer.limit), aria_valuetext=shown,
    )  # fmt: skip
    rate_part = tag("output", rate, id=f"rate-{name}", for_=f"theta-{name}") if rate else ""
    return tag(
        "div",
        tag("label", label, for_=f"theta-{name}"),
        drawn,
        tag("output", shown, id=f"shown-{name}", for_=f"theta-{name}", class_="theta"),
        rate_part,
        class_="row",
    )


def _rate_bar(rates: Sequence[float]) -> Markup:
    """Where images leave, as one bar."""
    return tag(
        "svg", share_rects(rates, 1000), id="rate-bar", viewBox="0 0 1000 10",
        preserveAspectRatio="none", class_="share-bar", role="img",
        aria_label="Share of images that leave at each exit, as in the column above",
    )  # fmt: skip


def share_rects(shares: Sequence[float], width: float) -> Markup:
    """Rectangles side by side, one for each exit, in growing darkness."""
    parts, at = [], 0.0
    for place, share in enumerate(shares):
        size = width * share
        kind = f"e{exit_shade(place, len(shares))}"
        parts.append(tag("rect", x=at, width=size, height=10, class_=kind))
        at += size
    return join(parts)


def exit_shade(place: int, exits: int) -> int:
    """Number of an exit's colour, 0 (first exit) to 5 (last one)."""
    return 5 if exits == 1 else round(5 * place / (exits - 1))


def _state(explorer: Explorer) -> str:
    if explorer.thresholds is None:
        return "No calibrated thresholds: the sliders start at never, the last exit for all images."
    covered = explorer.certified or "No guarantee covers them."
    return f"Calibrated thresholds. {covered} {explorer.note}".rstrip()


def _figures(explorer: Explorer, found: ExplorerFigures) -> Markup:
    """Figures now, at the calibrated thresholds, and of the last exit for every image."""
    last = figures_under(explorer, (0.0,) * (len(explorer.costs) - 1))
    columns = [("now", found), ("last exit for all", last)]
    if explorer.thresholds is not None:
        columns.insert(1, ("calibrated", found))
    rows = [_figure_row(name, label, columns, explorer) for name, label in _FIGURES]
    if explorer.milliseconds is not None:
        rows.append(_figure_row("time", "expected ms", columns, explorer))
    heads = [tag("td", class_="t"), *(tag("th", head, scope="col") for head, _ in columns)]
    return tag(
        "table",
        tag("caption", "Figures under the thresholds of the sliders", class_="unseen"),
        tag("thead", tag("tr", heads)),
        tag("tbody", rows),
        class_="now-table",
    )


def _figure_row(
    name: str, label: str, columns: Sequence[tuple[str, ExplorerFigures]], explorer: Explorer
) -> Markup:
    cells = [
        tag("td", _figure(name, found, explorer), id=f"now-{name}" if head == "now" else None)
        for head, found in columns
    ]
    return tag("tr", tag("th", label, scope="row", class_="t"), cells)


def _figure(name: str, found: ExplorerFigures, explorer: Explorer) -> str:
    if name == "accuracy":
        return f"{percent(found.accuracy)} %"
    if name == "macs":
        return macs(found.macs)
    if name == "saved":
        return f"{percent(1 - found.macs / explorer.costs[-1], 1)} %"
    return milliseconds(found.milliseconds or 0.0)


def _chart(explorer: Explorer, found: ExplorerFigures) -> Markup:
    """One θ for all exits as a curve, each exit for all images, and the point of the sliders."""
    early, exits = len(explorer.costs) - 1, range(len(explorer.costs))
    steps = range(POSITIONS, -1, -POSITIONS // _CURVE)  # from the cheapest
    sweep = [theta_at(position, explorer.limit) for position in steps]
    curve = [figures_under(explorer, (one,) * early) for one in sweep]
    alone = explorer.correct.mean(axis=0).tolist()
    points = [(explorer.costs[i], 100 * alone[i]) for i in exits]
    rows = [
        (f"exit {i + 1} for all images", macs(explorer.costs[i]), percent(alone[i]), "-")
        for i in exits
    ]
    rows += [
        ("one θ for all exits", macs(one.macs), percent(one.accuracy), theta(limit))
        for one, limit in zip(curve, sweep, strict=True)
    ]
    series = (
        Series("one θ", [(one.macs, 100 * one.accuracy) for one in curve], 0, len(points)),
        Series("exits", points, 0, kind="mark", labels=[str(i + 1) for i in exits]),
    )
    title = "Accuracy over expected MACs on these images"
    columns = ("point", "MACs", "accuracy %", "θ")
    chart = Chart(
        "explorer", title, "expected MACs per image", "accuracy, %", series, macs_axis, share_axis,
        macs_tick, plain_tick, columns, rows,
    )  # fmt: skip
    star = tag("path", d=f"M0,0{STAR}", id="now-mark", class_="star now")
    legend = "Line: one θ for all exits. Numbers: an exit for all images. Star: the sliders."
    return tag(
        "figure",
        svg(chart, SMALL, "explorer-table", star),
        tag("figcaption", legend, class_="note"),
        folded_table("explorer-table", title, columns, rows),
        class_="chart",
    )


def _command(explorer: Explorer, start: Sequence[float], where: str) -> Markup:
    text = explorer.command.replace("{thresholds}", ",".join(map(theta_word, start)))
    place = f", {where}" if where else ""
    back = "Back to the calibrated thresholds" if explorer.thresholds else "Back to never"
    return tag(
        "div",
        tag("p", f"The command that uses these thresholds{place}:", class_="note"),
        tag("pre", tag("code", text, id="command"), tabindex=0, role="group", aria_label="Command"),
        tag("button", "Copy the command", type="button", id="copy"),
        tag("button", back, type="button", id="reset"),
        tag("span", "", id="copied", role="status"),
        class_="command",
    )


def _data(explorer: Explorer) -> Markup:
    content = {
        "images": len(explorer.scores),
        "scores": _base64(explorer.scores.astype("<f4").tobytes()),
        "correct": _base64(np.packbits(explorer.correct, bitorder="little").tobytes()),
        "costs": list(map(float, explorer.costs)),
        "milliseconds": explorer.milliseconds,
        "thresholds": None
        if explorer.thresholds is None
        else [theta_word(one) for one in explorer.thresholds],
        "limit": explorer.limit,
        "command": explorer.command,
        "state": _state(explorer),
        "moved": UNCERTIFIED,
    }
    return json_block("explorer-data", content)


def json_block(name: str, content: object) -> Markup:
    """JSON for the script; `<` is escaped, so that no text can end the element."""
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(f'<script type="application/json" id="{name}">{text}</script>')


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
