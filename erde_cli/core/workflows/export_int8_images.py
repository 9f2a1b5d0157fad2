"""Images on which stages are quantised and their thresholds chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from erde_cli.core.arrays import IntArray
from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.document import ImageSource
from erde_cli.core.calibration.halves import halves
from erde_cli.core.data.store import ImageStore
from erde_cli.core.errors import InputError
from erde_cli.core.workflows.calibration_images import Source, open_source, require_several
from erde_cli.core.workflows.images import load_split
from erde_cli.core.workflows.options import Options

_RANGES = 1024  # at most; more images only widen the ranges by outliers


@dataclass(frozen=True)
class Int8Images:
    """Calibration images.

    ranges: numbers of the images that measure ranges. half_b: numbers of the test half.
    """

    store: ImageStore
    kind: ImageSource
    fingerprint: str
    ranges: IntArray
    half_b: IntArray

    @property
    def labels(self) -> IntArray | None:
        """Labels, int64 [images]; None if the images have none."""
        labels: IntArray = self.store.labels.numpy()
        return None if self.kind == "unlabelled folder" else labels


def open_images(bundle: Bundle, data: Path | None, options: Options) -> Int8Images:
    """Open images of the kind that the thresholds were chosen on: labelled or not.

    Args:
        bundle: a calibrated bundle.
        data: folder of images; None: the bundle's calibration split.
        options: observer.

    Raises:
        BundleError: the bundle's images have changed.
        DataError: images are missing, or a folder has the wrong layout.
        InputError: the thresholds were chosen on a folder and none is given; or there is only one
            image.
    """
    document = bundle.require_thresholds()
    kind = document.source
    if kind == "calibration split" and data is None:
        source = Source()
    elif data is None:
        form = "<class>/*" if kind == "labelled folder" else "images without labels"
        raise InputError(
            f"--int8 chooses thresholds again. Those of {bundle.path} were chosen on a folder of "
            "images.",
            got="no --data",
            hint=f"name the folder: --data FOLDER ({form})",
            expected="--data with that folder",
        )
    else:
        source = Source(images=data) if kind == "unlabelled folder" else Source(data=data)
    dataset = open_source(bundle, source, options, guarantee=False)
    store = load_split(dataset, "calibration", options)
    require_several(store, "Ranges are measured on some images and tested on others.")
    half_a, half_b = halves(len(store), dataset.fingerprint)
    return Int8Images(store, source.kind, dataset.fingerprint, np.sort(half_a[:_RANGES]), half_b)
