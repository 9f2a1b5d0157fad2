"""The written form of a threshold."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erde_cli.core.errors import InputError
from erde_cli.core.thresholds.written import (
    for_each_exit,
    read_threshold,
    read_thresholds,
    write_threshold,
)


@pytest.mark.parametrize(
    ("nats", "written"), [(math.inf, "always"), (0.0, "never"), (0.25, 0.25), (3, 3)]
)
def test_a_threshold_and_its_written_form_belong_together(nats: float, written: object) -> None:
    assert write_threshold(nats) == written
    assert read_threshold(written) == nats


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(st.floats(min_value=0, allow_nan=False))
def test_every_threshold_comes_back_from_json_bit_by_bit(nats: float) -> None:
    text = json.dumps(write_threshold(nats), allow_nan=False)
    assert read_threshold(json.loads(text)) == nats


@pytest.mark.parametrize(("written", "nats"), [("0.3", 0.3), ("3e-4", 3e-4), (0, 0.0), ("0", 0.0)])
def test_a_number_may_be_written_as_the_shell_gives_it(written: object, nats: float) -> None:
    assert read_threshold(written) == nats


@pytest.mark.parametrize(
    "junk",
    [
        math.nan,
        "nan",
        -0.1,
        "-1",
        -math.inf,
        True,
        False,
        math.inf,
        "inf",
        "Infinity",
        "1e999",
        pytest.param(10**400, id="an integer beyond floats"),
        "Always",
        "sometimes",
        "",
        "0.3 nats",
        None,
        [0.3],
        {"value": 0.3},
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(junk: object) -> None:
    with pytest.raises(InputError) as caught:
        read_threshold(junk)
    assert caught.value.got == repr(junk)
    assert '"always"' in caught.value.expected
    assert '"never"' in caught.value.expected


@pytest.mark.parametrize(
    ("written", "nats"),
    [
        ("0.3", 0.3),
        ("never", 0.0),
        ("0.3,0.5", (0.3, 0.5)),
        (" always, 3e-4 ,never", (math.inf, 3e-4, 0.0)),
        ([0.3, "always"], (0.3, math.inf)),
        ((math.inf,), (math.inf,)),
        (math.inf, math.inf),
    ],
)
def test_one_threshold_or_one_for_each_exit(written: object, nats: object) -> None:
    assert read_thresholds(written) == nats


@pytest.mark.parametrize("junk", ["0.3,", ",", "0.3,,0.5", "0.3;0.5", "0.3 0.5", "0.3,-1", [None]])
def test_one_wrong_threshold_is_enough(junk: object) -> None:
    with pytest.raises(InputError, match="not valid"):
        read_thresholds(junk)


def test_one_threshold_is_for_all_exits_and_several_must_be_as_many() -> None:
    assert for_each_exit(0.3, 3) == (0.3,) * 3
    assert for_each_exit(0.3, 0) == ()
    assert for_each_exit((0.3, 0.0), 2) == (0.3, 0.0)
    for wrong, early in ((0.3,), 2), ((0.3, 0.5, 1), 2), ((0.3,), 0):
        with pytest.raises(InputError) as caught:
            for_each_exit(wrong, early)
        assert caught.value.got == str(len(wrong))
        assert caught.value.expected.startswith(f"{early}, ")
    assert "--threshold 0.5,0.5" in str(_hint(2))


def _hint(early: int) -> str:
    with pytest.raises(InputError) as caught:
        for_each_exit((0.3,) * (early + 1), early)
    return caught.value.hint
