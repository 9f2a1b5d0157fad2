"""Axes, ticks, tables and the text of elements."""

import math
import re

import numpy as np
import pytest

from erde_cli.core.report.document import TradeCurve, TradeOffSection, TradePoint
from erde_cli.core.report.page.axes import (
    Axis,
    macs_axis,
    macs_tick,
    plain_tick,
    share_axis,
    value_axis,
)
from erde_cli.core.report.page.explorer_figures import (
    position_of,
    theta_at,
    theta_word,
)
from erde_cli.core.report.page.markup import Markup, join, tag
from erde_cli.core.report.page.table_parts import table
from erde_cli.core.report.page.trade_off_part import trade_off_part


@pytest.mark.parametrize(
    ("values", "make"),
    [
        ([1e5, 3e8], macs_axis), ([2e6, 2e6], macs_axis), ([0.0, 5e6], macs_axis),
        ([97.2], share_axis), ([0.0, 100.0], share_axis), ([99.9, 100.0], share_axis),
        ([0.0, 0.0], value_axis), ([-2.0, 3.0], value_axis), ([1e-5, 3.0], value_axis),
        ([8000.0, 8400.0], value_axis), ([1e-12, 1e-12], value_axis),
    ],
)  # fmt: skip
def test_an_axis_shows_all_values_and_a_few_round_ticks(values: list[float], make: object) -> None:
    assert callable(make)
    axis = make(values, 300.0, 10.0)
    pixels = [axis.at(value) for value in values]
    assert all(10 <= pixel <= 300 for pixel in pixels)
    assert pixels == sorted(pixels, reverse=True)
    for most in (2, 5, 10):
        ticks = axis.ticks(most)
        assert 1 <= len(ticks) <= most + 1
        slack = 1e-6 * (axis.high - axis.low)
        assert all(axis.low - slack <= tick <= axis.high + slack for tick in ticks)
        assert len({plain_tick(tick) for tick in ticks}) == len(ticks)


def test_an_axis_is_logarithmic_where_costs_differ_much() -> None:
    axis = macs_axis([1e6, 1e8], 0.0, 100.0)
    assert axis.at(1e7) == pytest.approx(50)
    assert not macs_axis([1e6, 3e6], 0.0, 100.0).logarithmic
    assert macs_tick(2.5e6) == "2.5 M"


def test_ticks_of_epochs_are_whole() -> None:
    ticks = Axis(1, 4, 0, 100, whole=True).ticks(6)
    assert ticks == [1, 2, 3, 4]
    assert Axis(0.5, 1.5, 0, 100, whole=True).ticks(6) == [1]
    assert all(tick.is_integer() for tick in Axis(1, 13, 0, 100, whole=True).ticks(5))


def test_text_and_attributes_are_escaped_and_markup_is_not() -> None:
    made = tag("p", "<&>", tag("b", "x"), title='"<', hidden=True, class_=None)
    assert made == '<p title="&quot;&lt;" hidden>&lt;&amp;&gt;<b>x</b></p>'
    assert join("a", ["<", Markup("<br>")]) == "a&lt;<br>"
    assert tag("p", "na\u200dme \u0646 \ud800\x07") == "<p>na\u200dme \u0646 \ufffd\ufffd</p>"


def test_numbers_are_aligned_and_names_are_not() -> None:
    text = table("t", ("a", "b", "c"), [("1", "-0.5 to +1.2", "yes"), ("2", "3.10 ± 0.2", "-")])
    assert '<th scope="row" class="t">1</th><td>-0.5 to +1.2</td><td class="t">yes</td>' in text
    assert '<td>3.10 ± 0.2</td><td class="t">-</td>' in text


def test_slider_positions_cover_never_to_always() -> None:
    limit = math.log(10)
    values = [theta_at(position, limit) for position in range(1001)]
    assert values[0] == 0
    assert values[-1] == math.inf
    assert values == sorted(set(values))
    assert [position_of(value, limit) for value in values] == list(range(1001))
    assert float(theta_word(1 / 3)) == 1 / 3


def test_points_and_bands_are_drawn_where_their_figures_are() -> None:
    """A point half way between two others is half way in pixels, a band surrounds its curve."""
    macs, mean = np.array([2e6, 1e6, 3e6]), np.array([0.6, 0.5, 0.7])
    curve = TradeCurve("a", macs, mean, (), mean - 0.1, mean + 0.05)
    point = TradePoint("chosen", 2e6, 0.6, "0.5 0.5", (0.7, 3e6))
    text = trade_off_part(TradeOffSection("test", 10, (curve,), (point,)))
    wide = text.partition('class="wide"')[2].partition("</svg>")[0]

    def pixels(kind: str) -> list[tuple[float, ...]]:
        path = re.search(rf'd="([^"]+)" class="{kind} c\d', wide)
        assert path
        return [tuple(map(float, one)) for one in re.findall(r"[ML]([\d.]+),([\d.]+)", path[1])]

    line, band = pixels("line"), pixels("band")
    assert line == sorted(line)
    assert line[1] == pytest.approx(np.mean([line[0], line[2]], axis=0), abs=0.1)
    assert pixels("star") == [line[1]]
    assert pixels("ring") == [line[2]]
    per_point = (line[0][1] - line[1][1]) / 10
    assert band[0][1] == pytest.approx(line[0][1] - 5 * per_point, abs=0.1)
    assert band[-1][1] == pytest.approx(line[0][1] + 10 * per_point, abs=0.1)
    rows = re.findall(r"<tr><th[^>]*>a</th>(.*?)</tr>", text)
    assert next(re.sub("<[^>]+>", " ", row).split() for row in rows) == [
        "1.00", "M", "50.00", "-", "40.00", "55.00", "-", "-",
    ]  # fmt: skip
