"""Figures that may be negative, as they are printed."""

from __future__ import annotations


def signed(value: float, digits: int = 2) -> str:
    """A figure with its sign; what rounds to zero is "+0.00", never "-0.00"."""
    return f"{value:+z.{digits}f}"


def signed_interval(low: float, high: float, digits: int = 2) -> str:
    """Both ends of an interval, with so many digits that one that leaves 0 out shows it."""
    beyond = min(abs(low), abs(high)) if low > 0 or high < 0 else 0.0
    while beyond and digits < 12 and round(beyond, digits) == 0:
        digits += 1
    return f"{signed(low, digits)} to {signed(high, digits)}"
