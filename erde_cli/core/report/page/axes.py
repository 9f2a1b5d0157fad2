"""Axes of charts: from values to pixels, and the ticks between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_LEAST_HEIGHT = 4.0  # points of accuracy; a smaller range would magnify noise
_MARGIN = 0.12  # of the range, on both sides
_ALL = 100.0  # per cent
_WIDE = 4.0  # largest / smallest MACs above which their axis is logarithmic
_VAST = 200.0  # largest / smallest value above which another axis is logarithmic
_SCALES = (("G", 1e9), ("M", 1e6), ("k", 1e3))


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`, drawn from pixel `start` to pixel `end`.

    whole: whether its values are whole numbers, so that no tick is between two of them.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False
    whole: bool = False

    def at(self, value: float) -> float:
        """Pixel of a value; values outside the axis are drawn at its ends."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Round values on the axis, at most about `most`."""
        if self.logarithmic:
            found = _decades(self.low, self.high, most)
            if len(found) > 1:
                return found
        return _linear(self.low, self.high, most, least=1.0 if self.whole else 0.0)


def _linear(low: float, high: float, most: int, least: float = 0.0) -> list[float]:
    rough = max((high - low) / most, least)
    power = 10.0 ** math.floor(math.log10(rough))
    steps = (one * power for one in _STEPS if not least or (one * power).is_integer())
    step = next(one for one in steps if one >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [one * step for one in range(first, last + 1)]


def _decades(low: float, high: float, most: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [
            digit * 10.0**power
            for power in powers
            for digit in digits
            if low * (1 - 1e-9) <= digit * 10.0**power <= high * (1 + 1e-9)
        ]
        if len(found) <= most:
            return found
    return found[:: -(-len(found) // most)]


def macs_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis of MACs with a margin; logarithmic if they differ much."""
    low, high = min(values), max(values)
    if low > 0 and high > _WIDE * low:
        room = (high / low) ** 0.05
        return Axis(low / room, high * room, start, end, logarithmic=True)
    room = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
    return Axis(max(low - room, 0.0), high + room, start, end)


def share_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis of per cent that spans 4 to 100 points, within 0 and 100."""
    low, high = min(values), max(values)
    height = min(max((high - low) * (1 + 2 * _MARGIN), _LEAST_HEIGHT), _ALL)
    bottom = min(max((low + high - height) / 2, 0.0), _ALL - height)
    return Axis(bottom, bottom + height, start, end)


def value_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis of any values; logarithmic if all are positive and differ much."""
    low, high = min(values), max(values)
    if low > 0 and high > _VAST * low:
        return Axis(low / 1.2, high * 1.2, start, end, logarithmic=True)
    if 0 <= low < 0.5 * high:
        low = 0.0
    room = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    return Axis(low if low == 0.0 else low - room, high + room, start, end)


def macs_tick(value: float) -> str:
    """A round number of MACs: "500 k", "2 M"."""
    for unit, scale in _SCALES:
        if value >= scale:
            return f"{value / scale:.4g} {unit}"
    return f"{value:.4g}"


def plain_tick(value: float) -> str:
    """A round number."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.6g}"
