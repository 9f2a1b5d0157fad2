"""The picture of a calibration: the frontier, and the thresholds in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from erde_cli.core.events import Observer
from erde_cli.core.storage.picture_axes import SIZE, finish, give_title, legend_below
from erde_cli.core.storage.pictures import CHOSEN, INK, OTHER, STAR, STUDENT, Point, draw, marks

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

Dot = tuple[float, float]  # expected MACs, accuracy or agreement (a fraction)

# Each curve is narrower than the one before: all stay visible where they coincide.
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": STUDENT, "ls": "-", "lw": 4.5, "alpha": 0.55, "marker": "o", "ms": 5, "mew": 0},
    {"color": OTHER, "ls": "--", "lw": 1.8, "marker": ".", "ms": 5},
    {"color": INK, "ls": ":", "lw": 1.2, "marker": ".", "ms": 3},
)


@dataclass(frozen=True)
class Curve:
    """Points of the frontier, cheapest first; `label` names the images that measured them."""

    label: str
    dots: Sequence[Dot]


@dataclass(frozen=True)
class FrontierPicture:
    """Content of the picture; `certified`: the candidates that the guarantee covers."""

    title: str
    measure: str
    curves: Sequence[Curve]
    certified: Sequence[Dot]
    chosen: Dot
    last_exit: Dot


def draw_frontier(path: Path, picture: FrontierPicture, observer: Observer) -> Path | None:
    """Draw accuracy (or agreement) over expected MACs, as `pictures.draw` does."""
    return draw(path, lambda: _frontier(picture), observer)


def _frontier(picture: FrontierPicture) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=150, layout="constrained")
    axes = figure.add_subplot()
    drawn: list[Artist] = []
    for curve, style in zip(picture.curves, _STYLES, strict=False):
        if curve.dots:  # an empty curve would still be in the legend
            macs, shares = zip(*curve.dots, strict=True)
            drawn += axes.plot(
                macs, [100 * share for share in shares], label=curve.label, clip_on=False, **style
            )
    covered = [Point(*dot) for dot in picture.certified]
    drawn += marks(axes, covered, "o", CHOSEN, 26, "covered by the guarantee")
    last, chosen = Point(*picture.last_exit), Point(*picture.chosen)
    drawn += marks(axes, [last], "s", INK, 70, "last exit, for every image", hollow=True)
    drawn += marks(axes, [chosen], "*", CHOSEN, STAR, "chosen thresholds", hollow=True)
    finish(axes, picture.measure, wide=False)
    give_title(axes, picture.title)
    legend_below(figure, drawn)
    return figure
