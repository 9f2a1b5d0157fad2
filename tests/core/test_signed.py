"""Figures with their sign: never a negative zero, and no interval that hides what it says."""

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import erde_cli
from erde_cli.core.signed import signed, signed_interval

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
