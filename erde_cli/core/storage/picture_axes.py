"""Shared parts of figures: axes for shares and MACs, titles that fit, legends below the axes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = 11.0  # points
SIZE = (7.2, 5.0)  # inches, of a figure with one pair of axes
_ALL = 100.0  # per cent
_LEAST_HEIGHT = 4.0  # points; a smaller range would magnify noise
_MARGIN = 0.12  # of the height of the data, above and below, for marks and their labels
_WIDE = 4  # largest / smallest MACs above which the axis is logarithmic
_VAST = 500  # largest / smallest MACs above which 2 and 5 of each decade have no ticks
_COLUMNS = range(130, 10, -4)  # line widths to try, in characters
_POINTS_PER_INCH = 72


def finish(axes: Axes, measure: str, *, wide: bool | None = None) -> None:
    """Format axes of shares in per cent over MACs; the y axis spans 4 to 100 points.

    Args:
        axes: with all data drawn, without clipping.
        measure: label of the y axis.
        wide: whether the axis of MACs is logarithmic; None: decided by the data.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, PercentFormatter

    least, most = axes.dataLim.intervalx
    if most > _WIDE * least if wide is None else wide:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if most > _VAST * least else (1, 2, 5)))
        axes.xaxis.set_minor_formatter("")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.set_xlabel("expected multiply-adds (MACs) per image")
    axes.set_ylim(*_within(*axes.dataLim.intervaly))
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=1))
    axes.set_ylabel(measure)
    axes.grid(visible=True, which="major", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _within(low: float, high: float) -> tuple[float, float]:
    """Limits around shares from `low` to `high`, shifted to stay within 0 and 100 %."""
    height = min(max((high - low) * (1 + 2 * _MARGIN), _LEAST_HEIGHT), _ALL)
    start = min(max((low + high - height) / 2, 0.0), _ALL - height)
    return start, start + height


def fitted(text: str, inches: float, size: float = TITLE, *, most: int = 3) -> str:
    """Text wrapped into at most `most` lines that fit a width."""
    lines = [text]
    for columns in _COLUMNS:
        if max(_width(line, size) for line in lines) <= inches * _POINTS_PER_INCH:
            break
        lines = textwrap.wrap(text, columns, max_lines=most, placeholder=" …") or [""]
    return "\n".join(lines)


def _width(line: str, size: float) -> float:
    """Width of a line, points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size)
    return float(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0])


def give_title(axes: Axes, title: str) -> None:
    """Set a title of any length, with enough padding for marks at 100 %."""
    text = fitted(title, SIZE[0] - 1.0)  # less the label and ticks of the y axis
    axes.set_title(text, fontsize=TITLE, loc="left", pad=14, parse_math=False)


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int = 2) -> None:
    """Add a legend below the axes."""
    figure.legend(
        handles=list(handles), loc="outside lower left", ncols=columns, frameon=False, fontsize=9,
        labelspacing=0.9,
    )  # fmt: skip
