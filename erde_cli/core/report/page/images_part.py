"""Calibration images of every exit: the surest right and wrong ones, and those passed on."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from erde_cli.core.figures import percent
from erde_cli.core.report.document import ExitImages, Thumbnail
from erde_cli.core.report.page.markup import Markup, tag

_MEDIA = frozenset({"image/png", "image/jpeg"})

_PASSED_ON = "passed on, least sure first"


def images_part(exits: Sequence[ExitImages], count: int) -> Markup:
    """Three rows of images for every exit.

    Args:
        exits: images of each exit.
        count: number of exits of the network.
    """
    return tag("div", [_of_exit(one, count) for one in exits], class_="images")


def _of_exit(one: ExitImages, count: int) -> Markup:
    rows = (
        ("right, surest first", one.surest_right),
        ("wrong, surest first", one.surest_wrong),
        (_PASSED_ON, one.passed_on),
    )
    head = tag("h3", f"Exit {one.exit + 1} of {count}")
    if not any(images for _, images in rows):
        return tag("section", head, tag("p", "no images", class_="note"), class_="exit-images")
    return tag(
        "section",
        head,
        [
            tag("div", tag("h4", name), _row(images))
            for name, images in rows
            if images or one.exit < count - 1 or name != _PASSED_ON
        ],
        class_="exit-images",
    )


def _row(images: Sequence[Thumbnail]) -> Markup:
    if not images:
        return tag("p", "none", class_="note")
    return tag("ul", [tag("li", _thumbnail(image)) for image in images], class_="thumbs")


def _thumbnail(image: Thumbnail) -> Markup:
    """The image and the answer; the true class as well if the answer is wrong.

    Raises:
        ValueError: the bytes are called something else than a PNG or JPEG image.
    """
    if image.media_type not in _MEDIA:
        raise ValueError(f"not an image for a page: {image.media_type}")
    wrong = image.predicted != image.label
    content = base64.b64encode(image.image).decode("ascii")
    truth = tag("i", f"not {image.label}") if wrong else ""
    return tag(
        "figure",
        tag(
            "img",
            src=f"data:{image.media_type};base64,{content}",
            alt=f"{image.label}, answered {image.predicted}",
        ),
        tag(
            "figcaption",
            tag("b", image.predicted),
            truth,
            tag("span", f"{percent(image.probability, 1)} %"),
        ),
        class_="wrong" if wrong else None,
    )
