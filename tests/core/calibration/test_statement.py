"""Promises in short: three lines that are never stronger than the whole statement."""

from __future__ import annotations

import pytest

from erde_cli.core.calibration.document import CertificateDocument
from erde_cli.core.calibration.statement import (
    guarantee_in_short,
    guarantee_text,
    no_guarantee_in_short,
    no_guarantee_text,
)
from erde_cli.core.thresholds.target import Risk

MORE = "images in the test half at the observed risk, or a larger EPS"
BETTER = "a larger EPS, or a network with better early exits"
LONGEST = 170  # characters: two lines of most terminals


def certificate_of(risk: Risk = "disagreement", **changed: object) -> CertificateDocument:
    content = {
        "risk": risk, "epsilon": 0.01, "confidence": 0.9, "images": 72, "earlier": [],
        "basis": None, "promised": None, "observed": 0.0, "tested": 9, "rejected": 0,
        "least_images": None, "images_wanted": None, "statement": "",
    }  # fmt: skip
    return CertificateDocument.model_validate({**content, **changed})


@pytest.mark.parametrize("basis", ["test", "bounds"])
@pytest.mark.parametrize(
    ("risk", "said"),
    [
        ("disagreement", "at most 3 % of images get a label other than the last exit's"),
        ("accuracy-gap", "at most 3 points of accuracy are lost against the last exit"),
    ],
)
def test_a_promise_in_short_is_no_stronger_than_the_whole(
    risk: Risk, said: str, basis: str
) -> None:
    certificate = certificate_of(
        risk, promised=0.03, confidence=0.95, images=1250, observed=0.012, basis=basis
    )
    whole, (what, sure, terms) = guarantee_text(certificate), guarantee_in_short(certificate)
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
        (9, 230, None, f"{BETTER}; the test half needs at least 230 images"),
        (9, 50, None, BETTER),
        (9, None, None, BETTER),
    ],
)  # fmt: skip
def test_nothing_in_short_says_what_it_would_take(
    tested: int, least: int | None, wanted: int | None, said: str
) -> None:
    certificate = certificate_of(tested=tested, least_images=least, images_wanted=wanted)
    lines = no_guarantee_in_short(certificate)
    assert lines[0] == "Nothing is promised: every image goes to the last exit."
    assert lines[1] == (
        "72 images do not show a risk of at most 1 % with confidence 0.9."
        if tested
        else "There is no candidate to test."
    )
    assert lines[2] == f"It would take {said}. Terms: docs/guarantee.md"
    assert max(map(len, lines)) < LONGEST
    whole = no_guarantee_text(certificate, too_many=True)
    assert wanted is None or f"{wanted:,}" in whole
