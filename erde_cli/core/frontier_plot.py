"""The picture of a calibration: what could be chosen, and what was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from erde_cli.core.observer import Observer
from erde_cli.core.plots import CHOSEN, INK, OTHER, STUDENT, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Dot = tuple[float, float]  # expected MACs, accuracy or agreement (a fraction)

_STYLES = ((STUDENT, "-"), (OTHER, "--"), (INK, ":"))


@dataclass(frozen=True)
class Curve:
    """Points of the frontier, cheapest first, and what they were measured on."""

    label: str
    dots: Sequence[Dot]


@dataclass(frozen=True)
class FrontierPicture:
    """What a picture of the frontier shows; `certified` are the candidates a promise covers."""

    title: str
    measure: str
    curves: Sequence[Curve]
    certified: Sequence[Dot]
    chosen: Dot
    last_exit: Dot


def draw_frontier(path: Path, picture: FrontierPicture, observer: Observer) -> Path | None:
    """Draw accuracy (or agreement) over expected MACs, as `plots.draw` does."""
    return draw(path, lambda: _frontier(picture), observer)


def _frontier(picture: FrontierPicture) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, PercentFormatter

    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for curve, (colour, line) in zip(picture.curves, _STYLES, strict=False):
        axes.plot(
            [macs for macs, _ in curve.dots], [100 * share for _, share in curve.dots],
            color=colour, ls=line, lw=1.8, marker=".", ms=5, label=curve.label,
        )  # fmt: skip
    marks = [
        (picture.certified, "o", CHOSEN, 26, "covered by the promise"),
        ([picture.last_exit], "s", INK, 36, "last exit, for every image"),
        ([picture.chosen], "*", CHOSEN, 190, "chosen thresholds"),
    ]
    for dots, marker, colour, size, label in marks:
        if dots:
            axes.scatter(
                [macs for macs, _ in dots], [100 * share for _, share in dots],
                marker=marker, c=colour, s=size, label=label, zorder=3,
                edgecolors="white", linewidths=0.6,
            )  # fmt: skip
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=1))
    axes.set_xlabel("expected multiply-adds (MACs) per image")
    axes.set_ylabel(picture.measure)
    axes.set_title(picture.title, fontsize=11, loc="left", parse_math=False)
    axes.grid(visible=True, which="major", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure
