"""Promises in short: three lines that are never stronger than the whole statement."""

from __future__ import annotations

import pytest

from erde_cli.core.calibration.statement import (
    guarantee_in_short,
    guarantee_text,
    no_guarantee_in_short,
    no_guarantee_text,
)
from erde_cli.core.thresholds.target import Risk

MORE = "images in the testing half at the risk observed, or a larger EPS"
BETTER = "a larger EPS, or a network whose early exits are better"
LONGEST = 170  # characters: two lines of most terminals


@pytest.mark.parametrize("by_bounds", [False, True])
@pytest.mark.parametrize(
    ("risk", "said"),
    [
        ("disagreement", "at most 3 % of images are answered otherwise than by the last exit"),
        ("accuracy-gap", "at most 3 points of accuracy are lost against the last exit"),
    ],
)
def test_a_promise_in_short_is_no_stronger_than_the_whole(
    risk: Risk, said: str, by_bounds: bool
) -> None:
    whole = guarantee_text(risk, 0.03, 0.95, 1250, 0.012, by_bounds=by_bounds)
    what, sure, terms = guarantee_in_short(risk, 0.03, 0.95, 1250, 0.012, by_bounds=by_bounds)
    assert f"Promised: on average, {said} (observed: 1.20 " in what
    assert "averaged over all images" in whole
    assert sure.startswith("With probability 0.95 or more over the draw of the 1,250 images")
    assert "with probability 0.95 or more" in whole
    assert ("could be chosen afterwards" in sure) == ("could be chosen afterwards" in whole)
    assert ("one risk and level, named before" in sure) == ("one risk at this one level" in whole)
    for part in ("device and precision", "none trained on", "like these", "independent"):
        assert part in terms
    assert "not per class, exit or image" in terms
    assert terms.endswith("Terms: docs/guarantee.md")
    assert max(map(len, (what, sure, terms))) < LONGEST


@pytest.mark.parametrize(
    ("tested", "least", "wanted", "said"),
    [
        (0, 230, None, "a network of two exits or more, or more images to choose candidates from"),
        (9, 230, 1500, f"about 1,500 {MORE}"),
        (9, 230, None, f"{BETTER}; at the very least 230 images"),
        (9, 50, None, BETTER),
        (9, None, None, BETTER),
    ],
)  # fmt: skip
def test_nothing_in_short_says_what_it_would_take(
    tested: int, least: int | None, wanted: int | None, said: str
) -> None:
    facts = {"tested": tested, "least": least, "wanted": wanted}
    lines = no_guarantee_in_short(0.01, 0.9, 72, **facts)  # type: ignore[arg-type]
    assert lines[0] == "Nothing is promised: every image goes to the last exit."
    assert lines[1] == (
        "72 images do not show a risk of at most 1 % with confidence 0.9."
        if tested
        else "There is no candidate to test."
    )
    assert lines[2] == f"It would take {said}. Terms: docs/guarantee.md"
    assert max(map(len, lines)) < LONGEST
    whole = no_guarantee_text(0.01, 0.9, 72, too_many=True, **facts)  # type: ignore[arg-type]
    assert wanted is None or f"{wanted:,}" in whole
