"""The images that stages are quantised on and their thresholds chosen again on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.document import ImageSource
from erde_cli.core.calibration.halves import halves
from erde_cli.core.data.store import ImageStore
from erde_cli.core.errors import InputError
from erde_cli.core.workflows.calibration_images import Source, open_source, require_several
from erde_cli.core.workflows.images import load_split
from erde_cli.core.workflows.options import Options

_RANGES = 1024  # images that ranges are measured on, at most; more only widen them by outliers


@dataclass(frozen=True)
class Int8Images:
    """Calibration images: their source, and which of them (numbers) measure ranges.

    half_b: numbers of those that measure none.
    """

    store: ImageStore
    kind: ImageSource
    fingerprint: str
    ranges: NDArray[np.int64]
    half_b: NDArray[np.int64]

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Labels, int64 [images]; None where the images have none."""
        if self.kind == "unlabelled folder":
            return None
        labels: NDArray[np.int64] = self.store.labels.numpy()
        return labels


def open_images(bundle: Bundle, data: Path | None, options: Options) -> Int8Images:
    """Open images like those that the thresholds were chosen on: labelled or not.

    Raises:
        BundleError: the bundle's images have changed.
        DataError: images are missing, or a folder is not of the right form.
        InputError: they were a folder's, and none is named; or there is only one.
    """
    document = bundle.require_thresholds()
    kind = document.source
    if kind == "calibration split" and data is None:
        source = Source()
    elif data is None:
        form = "<class>/*" if kind == "labelled folder" else "images without labels"
        raise InputError(
            f"The thresholds of {bundle.path} were chosen on images of a folder, and --int8 "
            "chooses them again.",
            got="no --data",
            hint=f"name the folder: --data FOLDER ({form})",
            expected="the same folder as --data",
        )
    else:
        source = Source(images=data) if kind == "unlabelled folder" else Source(data=data)
    dataset = open_source(bundle, source, options, promise=False)
    store = load_split(dataset, "calibration", options)
    require_several(store, "Ranges are measured on some images and looked at on others.")
    half_a, half_b = halves(len(store), dataset.fingerprint)
    return Int8Images(store, source.kind, dataset.fingerprint, np.sort(half_a[:_RANGES]), half_b)
