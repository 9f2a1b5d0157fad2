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
from erde_cli.core.files import write_file
from erde_cli.core.observer import Observer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#333333"
STUDENT = "#0072b2"  # colour-blind safe (Okabe and Ito)
OTHER = "#d55e00"
CHOSEN = "#009e73"
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


def draw_trade_off(path: Path, picture: TradeOff, observer: Observer) -> Path | None:
    """Draw accuracy over expected MACs, as `draw` does."""
    return draw(path, lambda: _trade_off(picture), observer)


def _trade_off(picture: TradeOff) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, PercentFormatter

    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(
        [point.macs for point in picture.sweep],
        [100 * point.accuracy for point in picture.sweep],
        color=STUDENT, lw=1.8, marker=".", ms=6, label="one θ for all exits (description)",
    )  # fmt: skip
    marks = [
        (picture.exits, "s", INK, 32, "all images leave at exit 1, 2, ..."),
        ([picture.chosen] if picture.chosen else [], "*", CHOSEN, 190, "calibrated thresholds"),
        ([picture.teacher] if picture.teacher else [], "D", OTHER, 60, "teacher, last exit"),
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
    return figure


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
