"""A few calibration images of each exit, at most 64 pixels a side."""

from __future__ import annotations

import io
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context
from erde_cli.core.inference.answers import answer_all, ready
from erde_cli.core.inference.answers_file import SplitAnswers
from erde_cli.core.report.collect.network import Network
from erde_cli.core.report.document import ExitImages, Thumbnail

SIDE, MOST = 64, 96  # pixels, images
_EACH = 8  # images of a kind at an exit, at most
_KINDS = 3  # surest right, surest wrong, passed on
_QUALITY = 80  # of a JPEG

_Places = tuple[IntArray, IntArray, IntArray]  # surest right, surest wrong, passed on


def exit_images(network: Network, context: Context) -> tuple[ExitImages, ...]:
    """Images of each exit; empty without answers or images.

    With thresholds: of those that leave there, and of those passed on. Without: of all.

    Args:
        network: the network.
        context: device and precision in which the probabilities of these images are computed.
    """
    if network.calibration is None or network.store is None:
        return ()
    answers = network.calibration.only(network.shown)
    each = max(1, min(_EACH, MOST // (_KINDS * network.exits)))
    exits = range(min(network.exits, MOST // _KINDS))
    left = network.left(answers)
    places = [one for exit_ in exits for one in _places(answers, exit_, left, each)]
    store = network.store.only(network.shown).only(np.concatenate(places))
    of_exits = np.repeat(np.arange(len(places)) // _KINDS, [len(one) for one in places])
    thumbnails = iter(_thumbnails(network, store, of_exits, context))
    kinds = [tuple(islice(thumbnails, len(one))) for one in places]
    return tuple(
        ExitImages(exit_, *kinds[_KINDS * exit_ : _KINDS * (exit_ + 1)]) for exit_ in exits
    )


def _places(answers: SplitAnswers, exit_: int, left: IntArray | None, each: int) -> _Places:
    """Positions of the surest right, the surest wrong, and the least sure passed on, int64."""
    scores, right = answers.scores[:, exit_], answers.correct[:, exit_]
    here = np.ones(len(scores), dtype=bool) if left is None else left == exit_
    passed = np.zeros_like(here) if left is None else left > exit_
    order = np.argsort(scores, kind="stable")
    surest_right, surest_wrong = order[(here & right)[order]], order[(here & ~right)[order]]
    least_sure = order[passed[order]][::-1]
    return surest_right[:each], surest_wrong[:each], least_sure[:each].copy()


def _thumbnails(
    network: Network, few: ImageStore, exits: IntArray, context: Context
) -> list[Thumbnail]:
    """Thumbnails of images, each with its answer at one exit, int64 [images]."""
    answers = answer_all(
        ready(network.bundle.model, context), few, network.bundle.normalisation, context,
        keep_logits=True,
    )  # fmt: skip
    assert answers.logits is not None  # noqa: S101
    rows = np.arange(len(few))
    chances = _probabilities(answers.logits, network)[rows, exits].max(axis=-1).tolist()
    predicted = answers.predictions[rows, exits].tolist()
    names, labels = network.bundle.class_names, few.labels.tolist()
    pixels = few.take(rows).numpy()
    return [
        Thumbnail(*_encoded(Image.fromarray(image)), names[label], names[answer], chance)
        for image, label, answer, chance in zip(pixels, labels, predicted, chances, strict=True)
    ]


def _probabilities(logits: NDArray[np.float32], network: Network) -> FloatArray:
    """Softmax of every exit at its temperature, float64 [images, exits, classes]."""
    scaled = torch.from_numpy(logits).double()
    temperatures = network.thresholds and network.thresholds.temperatures
    if temperatures:
        scaled = scaled / torch.tensor(temperatures, dtype=torch.float64)[:, None]
    found: FloatArray = scaled.softmax(dim=-1).numpy()
    return found


def _encoded(image: Image.Image) -> tuple[bytes, str]:
    """An image of at most 64 pixels a side as PNG or JPEG, whichever is smaller."""
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    contents = []
    for name, settings in (("png", {"optimize": True}), ("jpeg", {"quality": _QUALITY})):
        file = io.BytesIO()
        image.save(file, name, **settings)
        contents.append((file.getvalue(), f"image/{name}"))
    return min(contents, key=lambda one: len(one[0]))
