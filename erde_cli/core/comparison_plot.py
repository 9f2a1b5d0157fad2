"""The picture of a comparison: accuracy over MACs, a band over seeds, and what it is up against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from erde_cli.core.comparison import interpolated
from erde_cli.core.observations import FloatArray
from erde_cli.core.plots import INK, Point, save_figure

# Colour-blind safe (Okabe and Ito), each with a line and a marker of its own.
_STYLES = (
    ("#0072b2", "-", "o"), ("#d55e00", "--", "s"), ("#009e73", "-.", "^"), ("#cc79a7", ":", "v"),
    ("#e69f00", "-", "P"), ("#56b4e9", "--", "X"), ("#000000", "-.", "<"),
)  # fmt: skip
_STEPS = 200  # of a curve
_WIDE = 4  # largest over smallest cost from which on the axis is logarithmic


@dataclass(frozen=True)
class Drawn:
    """One kind of network: (expected MACs, accuracy) of every seed, and its exits as networks.

    seeds: one curve each, [points] of MACs and of accuracy (fractions).
    exits: each exit alone, without earlier heads, mean over seeds.
    """

    label: str
    seeds: Sequence[tuple[FloatArray, FloatArray]]
    exits: Sequence[Point]


@dataclass(frozen=True)
class ComparisonPicture:
    """What the picture shows; teacher: its own curves and its last exit alone."""

    title: str
    students: Sequence[Drawn]
    teacher: Drawn | None


def band(curves: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """MACs [steps], and accuracy of every seed there [seeds, steps], where all seeds reach."""
    low = max(float(macs.min()) for macs, _ in curves)
    high = min(float(macs.max()) for macs, _ in curves)
    grid = np.linspace(low, high, _STEPS)
    return grid, np.stack([interpolated(macs, share, grid.tolist()) for macs, share in curves])


def draw_comparison(path: Path, picture: ComparisonPicture) -> None:
    """Draw accuracy over expected MACs, as PNG or SVG by the ending of `path`."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, PercentFormatter

    figure = Figure(figsize=(7.8, 5.0), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    everything = [*picture.students, *([picture.teacher] if picture.teacher else [])]
    for place, one in enumerate(everything):
        teacher = one is picture.teacher
        colour, line, marker = (INK, ":", "D") if teacher else _STYLES[place % len(_STYLES)]
        macs, shares = band(one.seeds)
        axes.plot(macs, 100 * shares.mean(axis=0), color=colour, ls=line, lw=1.8, label=one.label)
        low, high = 100 * shares.min(axis=0), 100 * shares.max(axis=0)
        axes.fill_between(macs, low, high, color=colour, alpha=0.15, lw=0)
        axes.scatter(
            [exit_.macs for exit_ in one.exits], [100 * exit_.accuracy for exit_ in one.exits],
            marker=marker, c=colour, s=36, zorder=3, edgecolors="white", linewidths=0.6,
            label=f"{one.label}: {'last exit' if teacher else 'each exit'} alone",
        )  # fmt: skip
    costs = np.concatenate([macs for one in everything for macs, _ in one.seeds])
    if costs.max() > _WIDE * costs.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter("")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=1))
    axes.set_xlabel("expected multiply-adds (MACs) per image")
    axes.set_ylabel("accuracy")
    axes.set_title(picture.title, fontsize=11, loc="left", parse_math=False)
    axes.grid(visible=True, which="major", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    save_figure(figure, path)
