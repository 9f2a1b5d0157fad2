"""The picture of a profile: MACs and latency of each exit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from erde_cli.core.events import Observer
from erde_cli.core.figures import percent
from erde_cli.core.measurement.latency import BatchLatency
from erde_cli.core.storage.picture_axes import TITLE, fitted
from erde_cli.core.storage.pictures import CHOSEN, INK, OTHER, STUDENT, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colour and marker of each batch size.
_MARKS = ((STUDENT, "o"), (OTHER, "s"), (CHOSEN, "D"), ("#cc79a7", "^"), (INK, "v"))
_WIDE = 4  # the axis is logarithmic if the largest over the smallest latency is above this
_MANY = 5  # exits; names of more would overlap
_ALONE = "this exit alone, static"
_STEP = 0.16  # distance of the batch sizes of one exit, in distances of exits


@dataclass(frozen=True)
class ProfilePicture:
    """Content of the picture; expected_macs: None without thresholds."""

    title: str
    cumulative_macs: Sequence[int]
    static_macs: Sequence[int]  # of each exit alone; the last is the static network
    expected_macs: float | None
    latencies: Sequence[BatchLatency]


def draw_profile(path: Path, picture: ProfilePicture, observer: Observer) -> Path | None:
    """Draw cumulative MACs and latency of every exit side by side, as `pictures.draw` does."""
    return draw(path, lambda: _profile(picture), observer)


def _profile(picture: ProfilePicture) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    _draw_macs(left, picture)
    _draw_latencies(right, picture.latencies)
    for axes in (left, right):
        axes.grid(visible=True, which="major", axis="y", alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    title = fitted(picture.title, 10.2)
    figure.suptitle(title, fontsize=TITLE, x=0.01, ha="left", parse_math=False)
    return figure


def _draw_macs(axes: Axes, picture: ProfilePicture) -> None:
    from matplotlib.ticker import EngFormatter

    places = range(len(picture.cumulative_macs))
    full, static = picture.cumulative_macs[-1], picture.static_macs[-1]
    narrow = len(places) > _MANY  # the share does not fit into the bar
    axes.bar(
        places, picture.cumulative_macs, 0.6, color=STUDENT,
        label="leaving at this exit, % of static",
    )  # fmt: skip
    for place, macs in enumerate(picture.cumulative_macs):
        share = f"{percent(macs / static, 0)} %"
        axes.text(
            place, 0.01 * full + (macs if narrow else 0), share, ha="center", va="bottom",
            fontsize=7 if narrow else 9, color=INK if narrow else "white",
        )  # fmt: skip
    axes.hlines(
        picture.static_macs, [place - 0.15 for place in places], [place + 0.15 for place in places],
        color=INK, lw=1.6, zorder=3, label=_ALONE,
    )  # fmt: skip
    if picture.expected_macs is not None:
        axes.axhline(
            picture.expected_macs,
            color=OTHER,
            ls="--",
            lw=1.4,
            label="expected at the thresholds",
        )
    _name_exits(axes, len(places))
    axes.set_xlim(-0.6, len(places) - 0.4)
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.set_ylim(0, full * 1.36)  # room for the legend above the bars
    axes.set_ylabel("multiply-adds (MACs) per image")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")


def _draw_latencies(axes: Axes, latencies: Sequence[BatchLatency]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    count = len(latencies[0].exits)
    for index, one in enumerate(latencies):
        _draw_batch(axes, one, index, len(latencies))
    more = [] if latencies[0].end_to_end is None else ["at the\nthresholds"]
    if more:
        axes.axvline(count - 0.5, color=INK, lw=0.8, alpha=0.4)
    _name_exits(axes, count, more)
    axes.set_xlim(-0.5, count + len(more) - 0.5)
    medians = [timing.median for one in latencies for timing in (*one.exits, *one.static)]
    if max(medians) > _WIDE * min(medians):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.set_ylabel("latency, ms per image (median, p5 to p95)")
    axes.plot([], [], color=INK, lw=1.6, label=_ALONE)
    if latencies[0].end_to_end is not None:
        for label, filling in (("end to end, mean", "0.4"), ("expected by the mix", "white")):
            axes.plot([], [], "o", ms=7, mfc=filling, mec="0.4", label=label)
    low, high = axes.get_ylim()  # room for the legend above
    axes.set_ylim(low, high * (high / low) ** 0.28 if axes.get_yscale() == "log" else high * 1.3)
    named = sorted(
        zip(*axes.get_legend_handles_labels(), strict=True), key=lambda one: one[1][:5] != "batch"
    )
    axes.legend(*zip(*named, strict=True), frameon=False, fontsize=8.5, loc="upper left", ncols=2)


def _draw_batch(axes: Axes, one: BatchLatency, index: int, count: int) -> None:
    """Latencies at one of `count` batch sizes: next to the others at each exit."""
    colour, marker = _MARKS[index % len(_MARKS)]
    offset = index - (count - 1) / 2
    timings = list(one.exits)
    middles = [timing.median for timing in timings]
    places = [exit_ + _STEP * offset for exit_ in range(len(timings))]
    axes.errorbar(
        places, middles,
        yerr=[[timing.median - timing.p5 for timing in timings],
              [timing.p95 - timing.median for timing in timings]],
        fmt=marker, ms=6, color=colour, lw=1.3, capsize=3, label=f"batch {one.batch}",
    )  # fmt: skip
    axes.hlines(
        [timing.median for timing in one.static],
        [place - 0.4 * _STEP for place in places], [place + 0.4 * _STEP for place in places],
        color=INK, lw=1.6, zorder=3,
    )  # fmt: skip
    if one.end_to_end is None or one.expected is None:
        return
    place, spread = len(timings) + min(1.6 * _STEP, 0.8 / count) * offset, one.end_to_end.timing
    axes.vlines(place, spread.p5, spread.p95, color=colour, lw=1.3)
    axes.plot(
        place, one.end_to_end.mean, marker=marker, ms=7, color=colour, ls="", zorder=3,
    )  # fmt: skip
    axes.plot(
        place + 0.7 * _STEP, one.expected, marker=marker, ms=7, mfc="white", mec=colour, ls="",
        zorder=3,
    )  # fmt: skip


def _name_exits(axes: Axes, count: int, more: Sequence[str] = ()) -> None:
    """Name the exits from 1; if there are many, by number alone."""
    numbers = [str(index + 1) for index in range(count)]
    names = numbers if count > _MANY else [f"exit {number}" for number in numbers]
    axes.set_xticks(range(count + len(more)), [*names, *more])
    axes.set_xlabel("exit" if count > _MANY else "")
