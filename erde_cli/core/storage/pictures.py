"""Pictures of results."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from erde_cli.core.errors import brief
from erde_cli.core.events import Observer
from erde_cli.core.storage.files import write_file
from erde_cli.core.storage.picture_axes import SIZE, finish, give_title, legend_below

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#333333"
STUDENT = "#0072b2"  # colour-blind safe (Okabe and Ito)
OTHER = "#d55e00"
CHOSEN = "#009e73"
# The same picture is the same bytes: no version, no date, no random names.
_METADATA = {"png": {"Software": None}, "svg": {"Date": None}}
STAR = 300  # points², so large that the mark of an exit can be seen inside
_AWAY = (8, 3)  # points from the middle of a mark to its number, which leave a star free
_ROOM = 0.08  # of the height of the axes: what a number under its mark takes


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


def draw_trade_off(path: Path, picture: TradeOff, observer: Observer) -> Path | None:
    """Draw accuracy over expected MACs, as `draw` does."""
    return draw(path, lambda: _trade_off(picture), observer)


def _trade_off(picture: TradeOff) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=150, layout="constrained")
    axes = figure.add_subplot()
    drawn: list[Artist] = []
    if len(set(picture.sweep)) > 1:  # of one exit it is a point, under the mark of the exit
        drawn += axes.plot(
            [point.macs for point in picture.sweep],
            [100 * point.accuracy for point in picture.sweep],
            color=STUDENT, lw=1.8, marker=".", ms=6, label="one θ for all exits (description)",
            clip_on=False,
        )  # fmt: skip
    one = [] if picture.chosen is None else [picture.chosen]
    other = [] if picture.teacher is None else [picture.teacher]
    drawn += marks(axes, other, "D", OTHER, 60, "teacher, last exit")
    drawn += marks(axes, picture.exits, "s", INK, 32, "all images leave at this exit")
    drawn += marks(axes, one, "*", CHOSEN, STAR, "calibrated thresholds", hollow=True)
    finish(axes, "accuracy")
    _number(axes, picture.exits)
    give_title(axes, picture.title)
    legend_below(figure, drawn)
    return figure


def _number(axes: Axes, exits: Sequence[Point]) -> None:
    """Number exits from 1, right of their marks and below a rising curve, where there is room."""
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


def marks(
    axes: Axes, points: Sequence[Point], marker: str, colour: str, size: float, label: str,
    *, hollow: bool = False,
) -> list[Artist]:  # fmt: skip
    """Points as marks, whole even at the edge; a hollow one shows what lies under it."""
    if not points:
        return []
    return [
        axes.scatter(
            [point.macs for point in points], [100 * point.accuracy for point in points],
            marker=marker, s=size, label=label, zorder=5 if hollow else 4, clip_on=False,
            facecolors="none" if hollow else colour, edgecolors=colour if hollow else "white",
            linewidths=1.6 if hollow else 0.6,
        )
    ]  # fmt: skip


def draw(path: Path, make: Callable[[], Figure], observer: Observer) -> Path | None:
    """Write a figure as PNG or SVG, by the ending of `path`; None where it cannot be drawn.

    That is a warning and no error: results do not depend on their picture. An older picture is
    removed then, since it shows something else. The same figure is the same bytes.

    Raises:
        InputError: the folder cannot be made.
        ErdeError: the file cannot be written.
    """
    kind = path.suffix[1:]
    content = io.BytesIO()
    try:
        with _own_settings():
            make().savefig(content, format=kind, metadata=_METADATA[kind])
    except Exception as error:  # noqa: BLE001 (a broken matplotlib raises anything)
        reason = brief(" ".join(f"{type(error).__name__}: {error}".split()))
        observer.warning(f"The picture {path} could not be drawn: {reason}")
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    write_file(path, lambda beside: beside.write_bytes(content.getvalue()))
    return path


@contextmanager
def _own_settings() -> Iterator[None]:
    """Let matplotlib draw as it does for everyone, whatever the user's settings for it are."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.CRITICAL)  # without a home, it complains about its own cache
    try:
        _import_matplotlib()
        from matplotlib import rc_context, rcParamsDefault

        with rc_context({**rcParamsDefault, "svg.hashsalt": "erde"}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # names in any script
            yield
    finally:
        log.setLevel(level)


def _import_matplotlib() -> None:
    """Import it so that it reads no settings but its own.

    It takes the first `matplotlibrc` that it finds and looks in the current folder before anywhere
    else, so that is the one with its own file for the moment. A backend named in the environment
    may not be there, and none is needed.
    """
    spec = find_spec("matplotlib")
    if "matplotlib" in sys.modules or spec is None or spec.origin is None:
        return  # whoever needs it will tell
    named = os.environ.pop("MPLBACKEND", None)
    try:
        with chdir(Path(spec.origin).with_name("mpl-data")):
            import matplotlib  # noqa: F401
    finally:
        if named is not None:
            os.environ["MPLBACKEND"] = named
