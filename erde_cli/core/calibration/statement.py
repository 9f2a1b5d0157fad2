"""The text of a guarantee, or why there is none, in exactly the terms that hold.

`guarantee_text` and `no_guarantee_text` are complete, for files and programs. `guarantee_in_short`
and `no_guarantee_in_short` are three lines for a screen: they leave some terms to the page that
they name, but must never claim more.
"""

from __future__ import annotations

from erde_cli.core.calibration.document import CertificateDocument
from erde_cli.core.figures import percent
from erde_cli.core.thresholds.target import Risk

_TERMS = "Terms: docs/guarantee.md"
UNCOVERED = "Not certified: no promise covers these thresholds."

_RISKS: dict[Risk, str] = {
    "disagreement": "the share of images whose label differs from that of the network's last exit",
    "accuracy-gap": "the accuracy lost against the network's last exit",
}


def guarantee_text(certificate: CertificateDocument) -> str:
    """The guarantee with all its terms."""
    named = (
        "The bound holds for all candidates together, so the level could be chosen afterwards."
        if certificate.basis == "bounds"
        else "This covers one risk at this one level, named before these images were looked at. A "
        "level chosen from several by its result is not covered (--pick max-risk=EPS is)."
    )
    return (
        f"Promised: with probability {certificate.confidence:g} or more, "
        f"{_RISKS[certificate.risk]}, averaged over all images of the population, is at most "
        f"{100 * (certificate.promised or 0):g} % (observed: {percent(certificate.observed)} %). "
        f"The probability is over the random draw of the {certificate.images:,} images that tested "
        "the candidates; they come from the population met later, and the network was trained on "
        "none of them. Network, images that chose the candidates, device and precision are fixed. "
        f"{named} Nothing is promised per class, per exit or per image, for later images from "
        "another population, or if images are near-duplicates or frames of one video. A finite "
        "test set can exceed the bound by chance. Another precision, temperature or quantisation "
        "gives other scores and must be calibrated again."
    )


def no_guarantee_text(certificate: CertificateDocument, *, too_many: bool) -> str:
    """Why nothing is guaranteed, and what would be needed.

    Args:
        certificate: its statement is not read.
        too_many: whether the observed risk of the first candidate is ε or more.
    """
    images, least = certificate.images, certificate.least_images
    text = (
        f"Nothing can be promised at {100 * certificate.epsilon:g} % with confidence "
        f"{certificate.confidence:g} from {images:,} images, so every image goes to the last exit."
    )
    if certificate.tested == 0:
        return (
            text + " There is no candidate: the network has one exit, or the half that chooses "
            "candidates has too few images."
        )
    if least is not None and images < least:
        text += f" The test half needs at least {least:,} images."
    if certificate.images_wanted is not None:
        return text + f" About {certificate.images_wanted:,} would be enough at the observed risk."
    if too_many:
        return text + (
            " Even the most cautious candidate exceeds this risk on these images: allow a larger "
            "one, or train a network with better early exits."
        )
    return text + " No realistic number of images would be enough: allow a larger risk."


def guarantee_in_short(certificate: CertificateDocument) -> list[str]:
    """The same guarantee in three lines: bound, probability, terms."""
    what, unit = {
        "disagreement": ("% of images get a label other than the last exit's", "%"),
        "accuracy-gap": ("points of accuracy are lost against the last exit", "points"),
    }[certificate.risk]
    named = (
        "it holds for all candidates together, so the level could be chosen afterwards"
        if certificate.basis == "bounds"
        else "for this one risk and level, named beforehand"
    )
    bound, observed = 100 * (certificate.promised or 0), percent(certificate.observed)
    draw = f"over the draw of the {certificate.images:,} images that tested it"
    like = "on independent images like these, none trained on; not per class, exit or image"
    return [
        f"Promised: on average, at most {bound:g} {what} (observed: {observed} {unit}).",
        f"With probability {certificate.confidence:g} or more {draw}; {named}.",
        f"For this network and thresholds, device and precision, {like}. {_TERMS}",
    ]


def no_guarantee_in_short(certificate: CertificateDocument) -> list[str]:
    """Why nothing is guaranteed, in three lines: consequence, reason, what would be needed."""
    images, least = certificate.images, certificate.least_images
    why = (
        f"{images:,} images do not show a risk of at most {100 * certificate.epsilon:g} % with "
        f"confidence {certificate.confidence:g}."
    )
    takes = "a larger EPS, or a network with better early exits"
    if certificate.tested == 0:
        why = "There is no candidate to test."
        takes = "a network of two exits or more, or more images to choose candidates from"
    elif certificate.images_wanted is not None:
        wanted = f"about {certificate.images_wanted:,} images in the test half"
        takes = f"{wanted} at the observed risk, or a larger EPS"
    elif least is not None and images < least:
        takes += f"; the test half needs at least {least:,} images"
    return [
        "Nothing is promised: every image goes to the last exit.",
        why,
        f"It would take {takes}. {_TERMS}",
    ]
