"""The images that stages are quantised on and their thresholds chosen again on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.estimate import Target
from erde_cli.core.calibration.halves import halves
from erde_cli.core.calibration.thresholds_file import ThresholdsDocument
from erde_cli.core.data.store import ImageStore
from erde_cli.core.errors import InputError
from erde_cli.core.thresholds import read_threshold
from erde_cli.core.workflows.calibration_images import (
    Kind,
    Source,
    open_source,
)
from erde_cli.core.workflows.images import load_split
from erde_cli.core.workflows.options import Options

_RANGES = 1024  # images that ranges are measured on, at most; more only widen them by outliers


@dataclass(frozen=True)
class Int8Images:
    """Calibration images: their source, and which of them (numbers) measure ranges.

    half_b: numbers of those that measure none.
    """

    store: ImageStore
    kind: Kind
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
    dataset = open_source(bundle, source, None, options, promise=False)
    store = load_split(dataset, "calibration", options)
    if len(store) < 2:
        raise InputError(
            "Ranges are measured on some images and looked at on others.",
            got="one image",
            expected="two at the very least; some hundreds to be of use",
            hint="put more images there, or give another folder",
        )
    half_a, half_b = halves(len(store), dataset.fingerprint)
    return Int8Images(store, source.kind, dataset.fingerprint, np.sort(half_a[:_RANGES]), half_b)


def target_of(document: ThresholdsDocument) -> Target:
    """What thresholds were chosen for."""
    written = document.target
    value, risk = read_threshold(written["value"]), written.get("risk")
    return Target(written["kind"], value, risk, metric=document.metric)  # type: ignore[arg-type]


def estimate_of(target: Target) -> Target:
    """The same target without a promise: a risk of ε is 100 ε points below the last exit."""
    return Target("max_drop", 100 * target.value) if target.kind == "max_risk" else target
