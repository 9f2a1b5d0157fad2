"""What pictures share: axes for shares and for MACs, titles that fit, legends off the data."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = 11.0  # points
SIZE = (7.2, 5.0)  # inches, of a picture with one axis
_ROOM = SIZE[0] - 1.0  # inches for a title: less ticks and label of the y axis
_ALL = 100.0  # per cent
_LEAST_HEIGHT = 4.0  # points; less would show noise as a mountain
_MARGIN = 0.12  # of the height of the data, above and below: marks and their numbers have a size
_WIDE = 4  # largest over smallest MACs from which on the axis is logarithmic
_VAST = 500  # ... and from which on 2 and 5 of each decade would be too many ticks
_COLUMNS = range(130, 10, -4)  # widths of a line to try, in characters
_POINTS_PER_INCH = 72


def finish(axes: Axes, measure: str, *, wide: bool | None = None) -> None:
    """Shares in per cent over MACs, within 0 to 100 % and no less than four points high.

    Args:
        axes: with everything drawn. Marks at the edge are whole only if they are not clipped.
        measure: name of the y axis.
        wide: whether MACs are on a logarithmic axis; by what is drawn, where it is left out.
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
    """Limits around shares from `low` to `high`, moved rather than cut at 0 and 100 %."""
    height = min(max((high - low) * (1 + 2 * _MARGIN), _LEAST_HEIGHT), _ALL)
    start = min(max((low + high - height) / 2, 0.0), _ALL - height)
    return start, start + height


def fitted(text: str, inches: float, size: float = TITLE, *, most: int = 3) -> str:
    """A text of any length, broken into lines that fit a width, `most` of them at most."""
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
    """A title of any length, so far above the axes that no mark at 100 % is under it."""
    axes.set_title(fitted(title, _ROOM), fontsize=TITLE, loc="left", pad=14, parse_math=False)


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int = 2) -> None:
    """A legend under the axes, where no data can be."""
    figure.legend(
        handles=list(handles), loc="outside lower left", ncols=columns, frameon=False, fontsize=9,
        labelspacing=0.9,
    )  # fmt: skip
