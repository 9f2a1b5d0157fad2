"""Numbers as people read them: one form for each quantity, in tables, messages and pictures."""

from __future__ import annotations

import math


def percent(share: float, digits: int = 2) -> str:
    """A fraction in per cent, without the sign %."""
    return f"{100 * share:z.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign; what rounds to zero is "+0.00", never "-0.00"."""
    return f"{value:+z.{digits}f}"


def signed_interval(low: float, high: float, digits: int = 2) -> str:
    """Both ends of an interval, with enough digits to show that it excludes 0 if it does."""
    nearest = min(abs(low), abs(high)) if low > 0 or high < 0 else 0.0
    while nearest and digits < 12 and round(nearest, digits) == 0:
        digits += 1
    return f"{signed(low, digits)} to {signed(high, digits)}"


def theta(value: float | str | None) -> str:
    """A threshold: "never" for 0, "always" for infinity, "-" for an exit without one.

    Others have four digits after the point or, below 0.001, three digits.
    """
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    words = {0.0: "never", math.inf: "always"}
    digits = f"{value:.4f}" if value >= 0.001 else f"{value:.2e}".replace("e-0", "e-")
    return words.get(value, digits)


def macs(count: float) -> str:
    """Multiply-adds in thousands, millions or billions."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count:.0f}"


def byte_size(count: float) -> str:
    """A number of bytes: "512 bytes", "118 kB", "21.6 MB", "1.3 GB"."""
    for unit, scale, digits in (("GB", 1e9, 1), ("MB", 1e6, 1), ("kB", 1e3, 0)):
        if count >= scale:
            return f"{count / scale:,.{digits}f} {unit}"
    return f"{count:.0f} bytes"


def milliseconds(value: float) -> str:
    """A time in milliseconds, to three significant digits, without the unit."""
    digits = 4 if value < 0.1 else 3 if value < 1 else 2 if value < 10 else 1
    return f"{value:,.{digits}f}"


def duration(seconds: float) -> str:
    """A time in a unit that suits it: "0.25 s", "5.3 s", "43 s", "26 minutes", "1.4 hours"."""
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def clock(seconds: float) -> str:
    """A time that counts down: "0:05", "12:30", "1:02:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(count: int, noun: str) -> str:
    """A count and its noun: "1 thread", "1,797 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
