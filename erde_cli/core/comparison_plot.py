"""The picture of a comparison: accuracy over MACs, a band over seeds, and what it is up against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from erde_cli.core.comparison import interpolated
from erde_cli.core.observations import FloatArray
from erde_cli.core.observer import Observer
from erde_cli.core.plots import INK, Point, draw

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colour-blind safe (Okabe and Ito), each with a line and a marker of its own.
_STYLES = (
    ("#0072b2", "-", "o"), ("#d55e00", "--", "s"), ("#009e73", "-.", "^"), ("#cc79a7", ":", "v"),
    ("#e69f00", "-", "P"), ("#56b4e9", "--", "X"), ("#000000", "-.", "<"),
)  # fmt: skip
_STEPS = 200  # of a curve


@dataclass(frozen=True)
class Drawn:
    """One kind of network: (expected MACs, accuracy) of every seed, and its exits as networks.

    seeds: one curve each, [points] of MACs and of accuracy (fractions).
    exits: each exit alone, without earlier heads, mean over seeds.
    plain: a variant is a thin line alone; bands and marks of a dozen could not be told apart.
    """

    label: str
    seeds: Sequence[tuple[FloatArray, FloatArray]]
    exits: Sequence[Point]
    plain: bool = True


@dataclass(frozen=True)
class ComparisonPicture:
    """What the picture shows; teacher: its own curves and its last exit alone.

    rivals: networks without early exits, mean over seeds.
    """

    title: str
    students: Sequence[Drawn]
    teacher: Drawn | None
    rivals: Sequence[Point] = ()


def band(curves: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """MACs [steps], and accuracy of every seed there [seeds, steps], where all seeds reach."""
    low = max(float(macs.min()) for macs, _ in curves)
    high = min(float(macs.max()) for macs, _ in curves)
    grid = np.linspace(low, high, _STEPS)
    return grid, np.stack([interpolated(macs, share, grid.tolist()) for macs, share in curves])


def draw_comparison(path: Path, picture: ComparisonPicture, observer: Observer) -> Path | None:
    """Draw accuracy over expected MACs, as `plots.draw` does.

    The students on the left, where they can be told apart; with their teacher on the right, where
    it can be seen how far away it is.
    """
    return draw(path, lambda: _comparison(picture), observer)


def _comparison(picture: ComparisonPicture) -> Figure:
    from matplotlib.figure import Figure

    both = picture.teacher is not None
    figure = Figure(figsize=(11.4 if both else 7.2, 5.0), dpi=150, layout="constrained")
    panels = figure.subplots(1, 2, width_ratios=(3, 2)) if both else [figure.add_subplot()]
    for place, one in enumerate(picture.students):
        for axes in panels:
            _draw(axes, one, _STYLES[place % len(_STYLES)], "each exit alone")
    if picture.rivals:
        panels[0].scatter(
            [one.macs for one in picture.rivals], [100 * one.accuracy for one in picture.rivals],
            marker="*", c=INK, s=110, zorder=4, edgecolors="white", linewidths=0.6,
            label="static: no early exits, kd",
        )  # fmt: skip
    if picture.teacher is not None:
        _draw(panels[1], picture.teacher, (INK, ":", "D"), "last exit alone")
        panels[1].set_xscale("log")
        panels[1].set_title("with the teacher", fontsize=10, loc="left")
        panels[1].legend(*_last_entries(panels[1]), frameon=False, fontsize=8, loc="lower right")
    for axes in panels:
        _finish(axes)
    panels[0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.suptitle(picture.title, fontsize=11, x=0.01, ha="left", parse_math=False)
    return figure


def _draw(axes: Axes, one: Drawn, style: tuple[str, str, str], exits: str) -> None:
    """One kind of network: mean over seeds, a band from lowest to highest, its exits as marks."""
    colour, line, marker = style
    macs, shares = band(one.seeds)
    width = 1.8 if one.plain else 0.9
    axes.plot(macs, 100 * shares.mean(axis=0), color=colour, ls=line, lw=width, label=one.label)
    if not one.plain:
        return
    low, high = 100 * shares.min(axis=0), 100 * shares.max(axis=0)
    axes.fill_between(macs, low, high, color=colour, alpha=0.15, lw=0)
    axes.scatter(
        [exit_.macs for exit_ in one.exits], [100 * exit_.accuracy for exit_ in one.exits],
        marker=marker, c=colour, s=36, zorder=3, edgecolors="white", linewidths=0.6,
        label=f"{one.label}: {exits}",
    )  # fmt: skip


def _last_entries(axes: Axes) -> tuple[list[Artist], list[str]]:
    """The teacher's entries of a legend: the students' stand on the left."""
    handles, labels = axes.get_legend_handles_labels()
    return handles[-2:], labels[-2:]


def _finish(axes: Axes) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, PercentFormatter

    if axes.get_xscale() == "log":
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter("")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=1))
    axes.set_xlabel("expected multiply-adds (MACs) per image")
    axes.set_ylabel("accuracy")
    axes.grid(visible=True, which="major", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
