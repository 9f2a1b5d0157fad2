"""The text of a guarantee, or of the lack of one: plain text, in exactly the terms that hold.

`guarantee_text` and `no_guarantee_text` are complete, for files and programs; `guarantee_in_short`
and `no_guarantee_in_short` are three lines for a screen. The short forms may leave terms to the
page they name, but must never claim more.
"""

from __future__ import annotations

from erde_cli.core.thresholds.target import Risk

_TERMS = "Terms: docs/guarantee.md"
UNCOVERED = "Not certified: no promise covers these thresholds."

_RISKS: dict[Risk, str] = {
    "disagreement": "the share of images answered otherwise than by the network's own last exit",
    "accuracy-gap": "the accuracy lost against the network's own last exit",
}


def guarantee_text(
    risk: Risk,
    epsilon: float,
    confidence: float,
    images: int,
    observed: float,
    *,
    by_bounds: bool = False,
) -> str:
    """The terms of a promise.

    Args:
        risk: which one is bounded.
        epsilon: by what, a share of images.
        confidence: with which.
        images: of half B.
        observed: the risk on half B.
        by_bounds: whether the bound holds for all candidates together, so that ε may have been
            chosen afterwards.
    """
    named = (
        "It rests on bounds that hold for all candidates together, so that the level could be "
        "chosen afterwards."
        if by_bounds
        else "It covers this one risk at this one level, named before these images were looked at; "
        "one of several levels chosen by its result is not covered (--pick max-risk=EPS is)."
    )
    return (
        "Promised: for this network, the half of the images that chose the candidates, and this "
        f"device and precision, over the random draw of the {images:,} images that tested them "
        "from the population met later, none of them trained on, with probability "
        f"{confidence:g} or more {_RISKS[risk]}, averaged over all images of that population, is "
        f"at most {100 * epsilon:g} % (observed: {100 * observed:z.2f} %). {named} Not per class, "
        "per exit or per image; not where later images come from elsewhere; not where images are "
        "near-duplicates or frames of one video; a finite test set may exceed it by chance. "
        "Another precision, temperature or quantisation has other scores, and must be calibrated "
        "again."
    )


def no_guarantee_text(
    epsilon: float,
    confidence: float,
    images: int,
    *,
    tested: int,
    too_many: bool,
    least: int | None,
    wanted: int | None,
) -> str:
    """Why nothing is promised, and what it would take.

    Args:
        epsilon: what was asked for.
        confidence: with which.
        images: of half B.
        tested: candidates.
        too_many: whether even the first candidate's observed risk is ε or more.
        least: images below which nothing can be promised.
        wanted: estimate of how many would do; None where it is not known or beyond all measure.
    """
    text = (
        f"Nothing can be promised at {100 * epsilon:g} % with confidence {confidence:g} from "
        f"{images:,} images: every image goes to the last exit."
    )
    if tested == 0:
        return (
            text + " There is no candidate: the network has one exit, or the half that chooses "
            "them has too few images."
        )
    if least is not None and images < least:
        text += f" At the very least {least:,} images are needed in the testing half."
    if wanted is not None:
        return text + f" About {wanted:,} would do at the risk observed."
    if too_many:
        return text + (
            " Even the most cautious candidate is too often different on these images: allow "
            "more, or train a network whose early exits are better."
        )
    return text + " More images would be needed than can be had: allow more."


def guarantee_in_short(
    risk: Risk,
    epsilon: float,
    confidence: float,
    images: int,
    observed: float,
    *,
    by_bounds: bool = False,
) -> list[str]:
    """The same promise in three lines: what, how sure, under which terms."""
    what, unit = {
        "disagreement": ("% of images are answered otherwise than by the last exit", "%"),
        "accuracy-gap": ("points of accuracy are lost against the last exit", "points"),
    }[risk]
    named = (
        "it holds for all candidates together, so the level could be chosen afterwards"
        if by_bounds
        else "for this one risk and level, named before"
    )
    promised = f"at most {100 * epsilon:g} {what} (observed: {100 * observed:z.2f} {unit})"
    draw = f"over the draw of the {images:,} images that tested it"
    like = "on independent images like these, none trained on; not per class, exit or image"
    return [
        f"Promised: on average, {promised}.",
        f"With probability {confidence:g} or more {draw}; {named}.",
        f"For this network and thresholds, device and precision, {like}. {_TERMS}",
    ]


def no_guarantee_in_short(
    epsilon: float,
    confidence: float,
    images: int,
    *,
    tested: int,
    least: int | None,
    wanted: int | None,
) -> list[str]:
    """The same lack of a promise in three lines: what happens, why, and what it would take."""
    at = f"{images:,} images do not show a risk of at most {100 * epsilon:g} % with confidence "
    why, takes = f"{at}{confidence:g}.", "a larger EPS, or a network whose early exits are better"
    if tested == 0:
        why = "There is no candidate to test."
        takes = "a network of two exits or more, or more images to choose candidates from"
    elif wanted is not None:
        takes = f"about {wanted:,} images in the testing half at the risk observed, or a larger EPS"
    elif least is not None and images < least:
        takes += f"; at the very least {least:,} images"
    return [
        "Nothing is promised: every image goes to the last exit.",
        why,
        f"It would take {takes}. {_TERMS}",
    ]
