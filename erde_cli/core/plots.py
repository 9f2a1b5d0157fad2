"""Pictures of results."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from erde_cli.core.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK = "#333333"
_STUDENT = "#0072b2"  # colour-blind safe (Okabe and Ito)
_TEACHER = "#d55e00"
_CHOSEN = "#009e73"
# The same picture is the same bytes: no version, no date, no random names.
_METADATA = {"png": {"Software": None}, "svg": {"Date": None}}
_CEILING = 100.5  # per cent
_LEAST_HEIGHT = 4.0  # points of accuracy; less would show noise as a mountain


@dataclass(frozen=True)
class Point:
    """Accuracy (a fraction) at a cost (MACs per image)."""

    macs: float
    accuracy: float


@dataclass(frozen=True)
class TradeOff:
    """What a picture of the trade-off shows."""

    title: str
    sweep: Sequence[Point]  # one θ for all exits, from never to always
    exits: Sequence[Point]  # every exit as a network of its own, with the heads before it
    chosen: Point | None  # under the bundle's thresholds
    teacher: Point | None  # the teacher's last exit, without early heads


def draw_trade_off(path: Path, picture: TradeOff) -> None:
    """Draw accuracy over expected MACs, as PNG or SVG by the ending of `path`."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, PercentFormatter

    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(
        [point.macs for point in picture.sweep],
        [100 * point.accuracy for point in picture.sweep],
        color=_STUDENT, lw=1.8, marker=".", ms=6, label="one θ for all exits (description)",
    )  # fmt: skip
    marks = [
        (picture.exits, "s", _INK, 32, "all images leave at exit 1, 2, ..."),
        ([picture.chosen] if picture.chosen else [], "*", _CHOSEN, 190, "calibrated thresholds"),
        ([picture.teacher] if picture.teacher else [], "D", _TEACHER, 60, "teacher, last exit"),
    ]
    for points, marker, colour, size, label in marks:
        if points:
            axes.scatter(
                [point.macs for point in points],
                [100 * point.accuracy for point in points],
                marker=marker, c=colour, s=size, label=label, zorder=3,
                edgecolors="white", linewidths=0.6,
            )  # fmt: skip
    largest = max(
        point.macs for point in [*picture.sweep, *([picture.teacher] if picture.teacher else [])]
    )
    smallest = min(point.macs for point in picture.sweep)
    if largest > 4 * smallest:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter("")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    low, high = axes.get_ylim()
    spare = max(0, _LEAST_HEIGHT - (high - low)) / 2
    above = max(0, high + spare - _CEILING)
    axes.set_ylim(low - spare - above, high + spare - above)
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=1))
    axes.set_xlabel("expected multiply-adds (MACs) per image")
    axes.set_ylabel("accuracy")
    axes.set_title(picture.title, fontsize=11, loc="left", parse_math=False)
    axes.grid(visible=True, which="major", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="best")
    save_picture(figure, path)


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture as PNG or SVG by the ending of `path`; the same picture is the same bytes."""
    from matplotlib import rc_context

    kind = path.suffix[1:]
    with rc_context({"svg.hashsalt": "erde"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names in any script
        write_file(
            path, lambda beside: figure.savefig(beside, format=kind, metadata=_METADATA[kind])
        )
