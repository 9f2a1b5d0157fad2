"""The picture of a trade-off: accuracy over cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from erde_cli.core.events import Observer
from erde_cli.core.storage.picture_axes import SIZE, finish, give_title, legend_below
from erde_cli.core.storage.pictures import CHOSEN, INK, OTHER, STAR, STUDENT, Point, draw, marks

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AWAY = (8, 3)  # points from the centre of a mark to its number: clear of a star
_ROOM = 0.08  # share of the axes' height that a number below its mark needs


@dataclass(frozen=True)
class TradeOff:
    """Points of the picture."""

    title: str
    sweep: Sequence[Point]  # one θ for all exits, from never to always
    exits: Sequence[Point]  # all images leave at this exit, earlier heads included
    chosen: Point | None  # under the bundle's thresholds
    teacher: Point | None  # the teacher's last exit, without early heads


def draw_trade_off(path: Path, picture: TradeOff, observer: Observer) -> Path | None:
    """Draw accuracy over expected MACs; None if it could not be drawn."""
    return draw(path, lambda: _trade_off(picture), observer)


def _trade_off(picture: TradeOff) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=150, layout="constrained")
    axes = figure.add_subplot()
    drawn: list[Artist] = []
    if len(set(picture.sweep)) > 1:  # with one exit it is a single point, hidden by the exit's mark
        drawn += axes.plot(
            [point.macs for point in picture.sweep],
            [100 * point.accuracy for point in picture.sweep],
            color=STUDENT, lw=1.8, marker=".", ms=6, label="one θ for all exits (description)",
            clip_on=False,
        )  # fmt: skip
    chosen = [] if picture.chosen is None else [picture.chosen]
    teacher = [] if picture.teacher is None else [picture.teacher]
    drawn += marks(axes, teacher, "D", OTHER, 60, "teacher, last exit")
    drawn += marks(axes, picture.exits, "s", INK, 32, "all images leave at this exit")
    drawn += marks(axes, chosen, "*", CHOSEN, STAR, "calibrated thresholds", hollow=True)
    finish(axes, "accuracy")
    _number(axes, picture.exits)
    give_title(axes, picture.title)
    legend_below(figure, drawn)
    return figure


def _number(axes: Axes, exits: Sequence[Point]) -> None:
    """Number the exits from 1, to the right of their marks, below the curve if there is room."""
    from matplotlib.patheffects import withStroke

    low, high = axes.get_ylim()
    for number, point in enumerate(exits, 1):
        above = 100 * point.accuracy - low < _ROOM * (high - low)
        axes.annotate(
            str(number), (point.macs, 100 * point.accuracy),
            (_AWAY[0], _AWAY[1] if above else -_AWAY[1]),
            textcoords="offset points", ha="left", va="bottom" if above else "top",
            color=INK, fontsize=9, zorder=6, annotation_clip=False,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip
