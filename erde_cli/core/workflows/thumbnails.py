"""Small calibration images for trackers, if the user asked for them (`--track-images`)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from erde_cli.core.arrays import ImageArray
from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.inference.answers import ready, route_all
from erde_cli.core.workflows.images import dataset_of, load_split
from erde_cli.core.workflows.kept import PRECISION
from erde_cli.core.workflows.options import Options

_OF_EACH_EXIT = 8  # images
_LARGEST = 64  # pixels of a side


def send_thumbnails(student: Bundle, dataset: Dataset, options: Options) -> None:
    """Send the first calibration images that leave at each exit, if a listener wants them."""
    if not options.observer.wants_thumbnails:
        return
    context = options.inference_context(PRECISION)
    store = load_split(dataset_of(student, options, dataset), "calibration", options)
    document = student.require_thresholds()
    exits = route_all(
        ready(student.model, context), store, student.normalisation, document.values, context,
        document.temperatures, document.score,
    ).exits  # fmt: skip
    for exit_ in range(student.model.exit_count):
        places = np.flatnonzero(exits == exit_)[:_OF_EACH_EXIT]
        if len(places):
            pixels = _small(store.take(places).numpy())
            options.observer.thumbnails(f"student/images_of_exit_{exit_}", pixels)


def _small(pixels: ImageArray) -> ImageArray:
    side = min(_LARGEST, pixels.shape[1])
    images = (Image.fromarray(one).resize((side, side), Image.Resampling.BOX) for one in pixels)
    return np.stack([np.asarray(image) for image in images])
