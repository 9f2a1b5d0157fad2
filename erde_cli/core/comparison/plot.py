"""The picture of a comparison: accuracy over MACs with a band over seeds, teacher and rivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from erde_cli.core.arrays import FloatArray
from erde_cli.core.comparison.curves import interpolated
from erde_cli.core.events import Observer
from erde_cli.core.storage.picture_axes import TITLE, finish, fitted
from erde_cli.core.storage.pictures import INK, Point, draw, marks

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colour-blind safe (Okabe and Ito), each with a marker of its own.
_STYLES = (
    ("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "v"), ("#e69f00", "P"),
    ("#56b4e9", "X"), ("#000000", "<"),
)  # fmt: skip
_LINES = ("-", "--", "-.", ":")
_SIZES = ((2.8, 90), (1.8, 44), (1.2, 20))  # points of a line, points² of a mark
_STEPS = 200  # of a curve
_SMALL = 8.5  # points: text of the legend
_NAMES = 2.2  # inches: width of a name in the legend
_LINE = 0.18  # inches: height of a line of it


@dataclass(frozen=True)
class Drawn:
    """One student or the teacher over seeds.

    seeds: a curve for each seed, expected MACs [points] and accuracy (0 to 1) [points].
    exits: each exit without earlier heads, mean over seeds.
    reference: others are thin lines without band and marks, or a dozen would be unreadable.
    one_theta: as `seeds`, with one θ for all exits; empty for the teacher.
    """

    label: str
    seeds: Sequence[tuple[FloatArray, FloatArray]]
    exits: Sequence[Point]
    reference: bool = True
    one_theta: Sequence[tuple[FloatArray, FloatArray]] = ()


@dataclass(frozen=True)
class ComparisonPicture:
    """What the picture shows. rivals: networks without early exits, mean over seeds."""

    title: str
    students: Sequence[Drawn]
    teacher: Drawn | None
    rivals: Sequence[Point] = ()


def band(curves: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """MACs [steps] that all seeds reach, and the accuracy of every seed there [seeds, steps]."""
    low = max(float(macs.min()) for macs, _ in curves)
    high = min(float(macs.max()) for macs, _ in curves)
    grid = np.linspace(low, high, _STEPS)
    return grid, np.stack([interpolated(macs, share, grid.tolist()) for macs, share in curves])


def draw_comparison(path: Path, picture: ComparisonPicture, observer: Observer) -> Path | None:
    """Draw accuracy over expected MACs, as `pictures.draw` does.

    Left: the students. Top right: the students with one θ for all exits. Bottom right: students and
    teacher on one scale.
    """
    return draw(path, lambda: _comparison(picture), observer)


def _comparison(picture: ComparisonPicture) -> Figure:
    from matplotlib.figure import Figure

    # References first: they get the most distinct colours, widths and sizes.
    students = sorted(picture.students, key=lambda one: not one.reference)
    names = [fitted(one.label, _NAMES, _SMALL, most=6) for one in students]
    lines = sum(1 + name.count("\n") for name in names)
    both = picture.teacher is not None
    size = (13.0, max(6.6 if both else 5.0, 1.2 + _LINE * lines))
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = figure.add_gridspec(2 if both else 1, 2, width_ratios=(3, 2))
    main = figure.add_subplot(grid[:, 0])
    entries = [
        (_draw(main, one, _style(place), place), name)
        for place, (name, one) in enumerate(zip(names, students, strict=True))
    ]
    if picture.rivals:
        name = fitted("static: no early exits, kd", _NAMES, _SMALL)
        entries.append((tuple(marks(main, picture.rivals, "*", INK, 110, name)), name))
    _finish(main, "a threshold for each exit")
    _one_theta(figure.add_subplot(grid[0, 1]), students)
    if picture.teacher is not None:
        name = fitted("teacher, last exit marked", _NAMES, _SMALL)
        below = figure.add_subplot(grid[1, 1])
        entries.append((_with_teacher(below, students, picture.teacher), name))
    _legend_right(figure, entries, len(picture.students[0].seeds))
    title = fitted(picture.title, size[0] - _NAMES - 1.2)  # left of the legend
    figure.suptitle(title, fontsize=TITLE, x=0.01, ha="left", parse_math=False)
    return figure


def _one_theta(axes: Axes, students: Sequence[Drawn]) -> None:
    """The students with one θ for all exits. Their marks stand in the main axes."""
    for place, one in enumerate(students):
        _draw(axes, Drawn(one.label, one.one_theta, [], one.reference), _style(place), place)
    _finish(axes, "one θ for all exits")


def _with_teacher(axes: Axes, students: Sequence[Drawn], teacher: Drawn) -> tuple[Artist, ...]:
    """Students and teacher on one scale."""
    for place, one in enumerate(students):
        _draw(axes, one, _style(place), place)
    drawn = _draw(axes, teacher, (INK, ":", "D"))
    _finish(axes, "with the teacher", wide=True)
    return drawn


def _finish(axes: Axes, title: str, *, wide: bool = False) -> None:
    axes.set_title(title, fontsize=10, loc="left", pad=10)
    finish(axes, "accuracy", wide=wide)


def _style(place: int) -> tuple[str, str, str]:
    """Colour, line and marker; past the last colour they repeat with another line."""
    again, place = divmod(place, len(_STYLES))
    colour, marker = _STYLES[place]
    return colour, _LINES[(place + again) % len(_LINES)], marker


def _draw(
    axes: Axes, one: Drawn, style: tuple[str, str, str], place: int = 1
) -> tuple[Artist, ...]:
    """One student or the teacher: mean over seeds, a band from lowest to highest, exits as marks.

    Each one is drawn smaller than the one before it, so that all are visible where they coincide.
    """
    colour, line, marker = style
    macs, shares = band(one.seeds)
    width, size = _SIZES[place] if one.reference else (0.9, 0)
    drawn = axes.plot(
        macs,
        100 * shares.mean(axis=0),
        color=colour,
        ls=line,
        lw=width,
        label=one.label,
        clip_on=False,
    )
    if not one.reference:
        return tuple(drawn)
    low, high = 100 * shares.min(axis=0), 100 * shares.max(axis=0)
    axes.fill_between(macs, low, high, color=colour, alpha=0.15, lw=0)
    return (*drawn, *marks(axes, one.exits, marker, colour, size, f"{one.label}: exits"))


def _legend_right(
    figure: Figure, entries: Sequence[tuple[tuple[Artist, ...], str]], seeds: int
) -> None:
    """A legend right of the axes. Its title explains lines, bands and marks."""
    title = ["line: mean over seeds", "band: lowest to highest"] if seeds > 1 else []
    legend = figure.legend(
        *zip(*entries, strict=True), loc="outside right upper",
        frameon=False, fontsize=_SMALL, alignment="left", title_fontsize=_SMALL,
        title="\n".join([*title, "marks: each exit alone"]), handlelength=3,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
