"""Pictures of ordinary and of extreme results: nothing overlaps, is cut off or is hidden."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from erde_cli.core.calibration.frontier_plot import Curve, FrontierPicture, _frontier
from erde_cli.core.comparison.plot import ComparisonPicture, Drawn, _comparison
from erde_cli.core.measurement.latency import BatchLatency, EndToEnd, Timing
from erde_cli.core.measurement.profile_plot import ProfilePicture, _profile
from erde_cli.core.storage.picture_axes import fitted
from erde_cli.core.storage.pictures import Point
from erde_cli.core.workflows.evaluation_plot import TradeOff, _trade_off

LONG = "W" * 100 + ": 12 images (/a/folder/" + "x" * 100 + ")"
SHAPES: dict[str, Callable[[float], float]] = {
    "rising": lambda t: 0.6 + 0.3 * t**0.5,
    "all right": lambda t: 1.0,
    "nothing right": lambda t: 0.0,
    "nearly nothing right": lambda t: 0.02 * t,
    "from nothing to all": lambda t: t,
    "falling": lambda t: 0.99 - 0.02 * t,
}


def points(shape: str, count: int, scale: float = 1e6) -> list[Point]:
    places = np.linspace(0.3, 1, count).tolist()
    return [Point(place * scale, SHAPES[shape]((place - 0.3) / 0.7)) for place in places]


def trade_off(shape: str, exits: int, title: str = "digits: 359 images (test)") -> Figure:
    sweep = points(shape, max(exits, 12) if exits > 1 else 1)
    chosen = points(shape, exits)
    teacher = Point(1e8 if exits > 3 else 1.2e6, 1.0)
    return _trade_off(TradeOff(title, sweep, chosen, chosen[0], teacher))


def frontier(shape: str, exits: int, title: str = "digits: 144 images") -> Figure:
    dots = [(one.macs, one.accuracy) for one in points(shape, 6 * exits - 5)]
    curves = [Curve(name, dots) for name in ("on the images that chose them", "held out")]
    curves.append(Curve("held out, without temperatures", [] if exits > 3 else dots))
    covered = dots[:2] if exits > 3 else []
    return _frontier(FrontierPicture(title, "accuracy", curves, covered, dots[0], dots[-1]))


def kind(label: str, shape: str, exits: int, scale: float = 1e6, *, plain: bool = True) -> Drawn:
    here = points(shape, exits, scale)
    curve = np.array([one.macs for one in here]), np.array([one.accuracy for one in here])
    return Drawn(label, [curve, curve], here, plain, [curve, curve])


def comparison(shape: str, exits: int, title: str = "digits: 359 test images") -> Figure:
    more = [kind(f"erde: {'entropy on ' * 9}{i}", shape, exits, plain=False) for i in range(20)]
    students = [kind("erde", shape, exits), *(more if exits > 3 else []), kind("kd", shape, exits)]
    teacher = kind("teacher", shape, exits, 1e7) if exits > 1 else None
    return _comparison(ComparisonPicture(title, students, teacher, [Point(5e5, 1.0)]))


def profile(exits: int, title: str = "digits: cost of each exit") -> Figure:
    def timing(ms: float) -> Timing:
        return Timing(ms, 0.9 * ms, 1.2 * ms, 10)

    def batch(size: int) -> BatchLatency:
        times = tuple(timing((place + 1) / size) for place in range(exits))
        mix = EndToEnd((1 / exits,) * exits, 1 / size, timing(1 / size), (1.0,) * exits)
        return BatchLatency(size, 10, times, times, mix)

    costs = [1000 * (place + 1) for place in range(exits)]
    batches = [batch(size) for size in (1, 8, 32, 128, 256)]
    return _profile(ProfilePicture(title, costs, costs, 1000.0, batches))


MADE = {"trade-off": trade_off, "frontier": frontier, "comparison": comparison}
CASES = [
    pytest.param(name, shape, exits, id=f"{name}, {shape}, {exits} exits")
    for name in MADE
    for shape, exits in [
        ("rising", 3), ("all right", 3), ("nothing right", 3), ("nearly nothing right", 3),
        ("from nothing to all", 10), ("falling", 10), ("rising", 1),
    ]
]  # fmt: skip


@cache
def made(name: str, shape: str, exits: int) -> Figure:
    return laid_out(MADE[name](shape, exits))


def laid_out(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def outside(inner: Bbox, outer: Bbox, slack: float = 1.0) -> bool:
    return bool(
        inner.x0 < outer.x0 - slack or inner.y0 < outer.y0 - slack
        or inner.x1 > outer.x1 + slack or inner.y1 > outer.y1 + slack
    )  # fmt: skip


def boxes_of_marks(axes: Axes) -> list[Bbox]:
    """Where marks are, in pixels."""
    found = []
    for marks in (one for one in axes.collections if isinstance(one, PathCollection)):
        half = float(np.sqrt(marks.get_sizes()[0])) / 2 * axes.figure.dpi / 72
        for x, y in axes.transData.transform(marks.get_offsets()):
            found.append(Bbox([[x - half, y - half], [x + half, y + half]]))
    return found


@pytest.mark.parametrize(("name", "shape", "exits"), CASES)
def test_axes_stay_within_all_and_nothing_and_show_four_points_or_more(
    name: str, shape: str, exits: int
) -> None:
    for axes in made(name, shape, exits).axes:
        low, high = axes.get_ylim()
        assert 0 <= low < high <= 100
        assert high - low >= 4 - 1e-9
        assert low <= axes.dataLim.y0 + 1e-9
        assert axes.dataLim.y1 - 1e-9 <= high
        shown = [tick.get_text() for tick in axes.get_xticklabels()]
        assert len([text for text in shown if text]) >= 2


@pytest.mark.parametrize(("name", "shape", "exits"), CASES)
def test_no_data_is_under_the_legend(name: str, shape: str, exits: int) -> None:
    figure = made(name, shape, exits)
    [legend] = figure.legends
    box = legend.get_window_extent()
    assert not outside(box, figure.bbox)
    for axes in figure.axes:
        assert axes.get_legend() is None
        drawn = axes.get_tightbbox()
        assert drawn is not None
        assert not box.overlaps(drawn)
        assert not any(box.overlaps(mark) for mark in boxes_of_marks(axes))


@pytest.mark.parametrize(("name", "shape", "exits"), CASES)
def test_what_the_legend_names_is_seen(name: str, shape: str, exits: int) -> None:
    figure = made(name, shape, exits)
    [legend] = figure.legends
    lines = [line for axes in figure.axes for line in axes.lines]
    marks = [one for axes in figure.axes for one in axes.collections]
    seen = {str(line.get_label()) for line in lines if len(line.get_xdata())}  # type: ignore[arg-type]
    seen |= {str(one.get_label()) for one in marks if len(one.get_offsets())}
    named = [" ".join(text.get_text().split()) for text in legend.get_texts()]
    for text in named:
        assert text.split(", last exit marked")[0] in {" ".join(one.split()) for one in seen}, text
    assert len(set(named)) == len(named)


@pytest.mark.parametrize(("shape", "exits"), [case.values[1:] for case in CASES[:7]])
def test_exits_are_numbered_next_to_their_marks(shape: str, exits: int) -> None:
    figure = made("trade-off", shape, exits)
    [axes] = figure.axes
    assert [text.get_text() for text in axes.texts] == [str(i + 1) for i in range(exits)]
    [squares] = [one for one in axes.collections if "this exit" in str(one.get_label())]
    dpi = figure.dpi
    for text, offset in zip(axes.texts, squares.get_offsets(), strict=True):
        x, y = axes.transData.transform(offset)
        box = text.get_window_extent()
        half = float(np.sqrt(squares.get_sizes()[0])) / 2 * dpi / 72  # type: ignore[attr-defined]
        assert not box.overlaps(Bbox([[x - half, y - half], [x + half, y + half]]))
        assert abs((box.x0 + box.x1) / 2 - x) < 20 * dpi / 72
        assert abs((box.y0 + box.y1) / 2 - y) < 20 * dpi / 72
        assert not outside(box, figure.bbox)
        assert not box.overlaps(axes.xaxis.label.get_window_extent())
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))


@pytest.mark.parametrize("make", [trade_off, frontier])
def test_the_star_is_hollow_and_larger_than_what_lies_under_it(
    make: Callable[..., Figure],
) -> None:
    [axes] = make("rising", 3).axes
    found = {str(one.get_label()): one for one in axes.collections}
    [star] = [one for label, one in found.items() if "thresholds" in label]
    assert len(star.get_facecolor()) == 0
    assert isinstance(star, PathCollection)
    for one in found.values():
        assert isinstance(one, PathCollection)
        assert one is star or one.get_sizes()[0] < star.get_sizes()[0] / 3


def test_curves_that_coincide_are_all_seen() -> None:
    [axes] = frontier("rising", 3).axes
    widths = [line.get_linewidth() for line in axes.lines]
    assert len(widths) == 3
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 3
    left, *_ = comparison("all right", 3).axes
    erde, kd = left.lines
    assert erde.get_linewidth() > kd.get_linewidth()
    sizes = [float(one.get_sizes()[0]) for one in left.collections
             if isinstance(one, PathCollection) and "exits" in str(one.get_label())]  # fmt: skip
    assert sizes[0] > sizes[1]


def test_a_curve_without_points_is_not_in_the_legend() -> None:
    [legend] = frontier("rising", 10).legends
    assert "held out, without temperatures" not in [one.get_text() for one in legend.get_texts()]
    [legend] = frontier("rising", 3).legends
    assert "held out, without temperatures" in [one.get_text() for one in legend.get_texts()]


def test_a_sweep_that_is_one_point_is_not_in_the_legend() -> None:
    for exits, named in ((1, False), (3, True)):
        [legend] = trade_off("rising", exits).legends
        names = [text.get_text() for text in legend.get_texts()]
        assert ("one θ for all exits (description)" in names) == named


@pytest.mark.parametrize("exits", [3, 10])
@pytest.mark.parametrize("name", [*MADE, "profile"])
def test_a_long_title_is_broken_and_crosses_nothing(name: str, exits: int) -> None:
    make = MADE.get(name)
    figure = laid_out(profile(exits, LONG) if make is None else make("all right", exits, LONG))
    [title] = [one for one in figure.findobj(Text) if "WWW" in one.get_text()]
    box = title.get_window_extent()
    assert not outside(box, figure.bbox)
    for legend in figure.legends:
        assert not box.overlaps(legend.get_window_extent())
    for axes in figure.axes:
        assert not any(box.overlaps(mark) for mark in boxes_of_marks(axes))
        assert not box.overlaps(axes.bbox)


@pytest.mark.parametrize("exits", [1, 3, 6, 10])
def test_names_of_exits_do_not_overlap_in_a_profile(exits: int) -> None:
    figure = laid_out(profile(exits))
    for axes in figure.axes:
        names = [tick.get_window_extent() for tick in axes.get_xticklabels()]
        assert len(names) >= exits
        assert not any(one.overlaps(other) for one, other in pairwise(names))
        for line in axes.lines:
            data = np.asarray(line.get_xdata(), dtype=float)
            assert "expected at" in str(line.get_label()) or (data < axes.get_xlim()[1]).all()
    shares = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(one.overlaps(other) for one, other in pairwise(shares))


def test_a_text_is_broken_where_it_must_be() -> None:
    assert fitted("digits: 359 images (test)", 6) == "digits: 359 images (test)"
    assert fitted("one two three " * 20, 3).count("\n") == 2
    assert fitted("one two three " * 20, 3).endswith("…")
    assert fitted("", 3) == ""
