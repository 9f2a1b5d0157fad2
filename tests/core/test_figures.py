"""Numbers for people: one form each, no negative zero, no interval that hides its sign."""

import ast
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import erde_cli
from erde_cli.core.figures import (
    byte_size,
    clock,
    counted,
    duration,
    macs,
    milliseconds,
    percent,
    signed,
    signed_interval,
    theta,
)

PACKAGE = Path(erde_cli.__file__).parent
quick = settings(max_examples=300, deadline=None, database=None, derandomize=True)


@pytest.mark.parametrize("value", [0.0, -0.0, -1e-9, -0.004])
def test_there_is_no_negative_zero(value: float) -> None:
    assert signed(value) == "+0.00"
    assert signed(value, 1) == "+0.0"


def test_figures_are_rounded_and_signed() -> None:
    assert (signed(-8.614), signed(2.3, 1), signed(-0.006)) == ("-8.61", "+2.3", "-0.01")
    assert signed_interval(-1.274, 1.26) == "-1.27 to +1.26"
    assert signed_interval(0.0004, 2) == "+0.0004 to +2.0000"
    assert signed_interval(0.0, 2) == "+0.00 to +2.00"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(0.98765), "98.77"), (percent(0.98765, 1), "98.8"), (percent(-1e-9), "0.00"),
        (theta(0.0), "never"), (theta(math.inf), "always"), (theta(0.44034), "0.4403"),
        (theta(0.001), "0.0010"), (theta(0.00099996), "1.00e-3"), (theta(3e-12), "3.00e-12"),
        (theta("never"), "never"), (theta(None), "-"),
        (macs(999), "999"), (macs(113_152), "113.15 k"), (macs(1.59e6), "1.59 M"),
        (macs(2e9), "2.00 G"),
        (byte_size(512), "512 bytes"), (byte_size(118_000), "118 kB"),
        (byte_size(21_640_000), "21.6 MB"), (byte_size(1.34e9), "1.3 GB"),
        (milliseconds(0.01234), "0.0123"), (milliseconds(0.5), "0.500"),
        (milliseconds(1.234), "1.23"), (milliseconds(1234.56), "1,234.6"),
        (duration(0.254), "0.25 s"), (duration(5.31), "5.3 s"), (duration(43.2), "43 s"),
        (duration(1560), "26 minutes"), (duration(7200), "2.0 hours"),
        (clock(5), "0:05"), (clock(65), "1:05"), (clock(3599.6), "1:00:00"),
        (clock(7325), "2:02:05"),
        (counted(1, "thread"), "1 thread"), (counted(1797, "image"), "1,797 images"),
    ],
)  # fmt: skip
def test_every_quantity_has_one_form(shown: str, expected: str) -> None:
    assert shown == expected


@quick
@given(st.floats(-10, 10), st.floats(-10, 10))
def test_an_interval_shows_whether_it_leaves_0_out(one: float, other: float) -> None:
    low, high = sorted((one, other))
    if 0 < min(abs(low), abs(high)) < 1e-9:
        return
    shown_low, shown_high = map(float, signed_interval(low, high).split(" to "))
    assert (shown_low > 0, shown_high < 0) == (low > 0, high < 0)


def test_no_sign_is_printed_without_it() -> None:
    """Any format with a plus sign goes through `signed`, or takes negative zeros back itself."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
                spec = ast.unparse(node.format_spec)
                assert "+" not in spec or "z" in spec, (path, spec)
