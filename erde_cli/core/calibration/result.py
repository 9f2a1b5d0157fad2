"""The result of a calibration, and its conversion to `thresholds.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from erde_cli.core.calibration.document import (
    BoundsDocument,
    CertificateDocument,
    FiguresDocument,
    ImageSource,
    LatencyDocument,
    PointDocument,
    StoredPrecision,
    TargetDocument,
    ThresholdsDocument,
)
from erde_cli.core.calibration.thresholds_file import thresholds_document
from erde_cli.core.inference.observations import Figures, Observations
from erde_cli.core.thresholds.scores import ENTROPY
from erde_cli.core.thresholds.written import write_threshold


@dataclass(frozen=True)
class CalibrationResult:
    """Thresholds chosen for a target, their figures, and the other points to pick from.

    point: the thresholds in force. images: number of all calibration images. held_out: figures on
    images that did not choose the thresholds. exit_accuracy, exit_balanced_accuracy: of each exit
    alone [exits]; None without labels, or if balanced accuracy is not the metric.
    """

    point: PointDocument
    target: TargetDocument
    images: int
    met: bool
    met_where_chosen: bool
    held_out: FiguresDocument
    exit_accuracy: tuple[float, ...] | None
    exit_balanced_accuracy: tuple[float, ...] | None
    certificate: CertificateDocument | None
    frontier: list[PointDocument]


@dataclass(frozen=True)
class Basis:
    """Network, images, score and device that a result belongs to."""

    source: ImageSource
    split_fingerprint: str
    weights_digest: str
    precision: StoredPrecision
    device: str
    temperatures: list[float] | None
    latency: LatencyDocument | None
    criterion: str = ENTROPY.name
    unit: str = ENTROPY.unit


def figures_document(figures: Figures) -> FiguresDocument:
    """Stored form of figures."""
    return FiguresDocument(**asdict(figures))


def point_document(
    thresholds: Sequence[float],
    figures: Figures,
    half_b: Observations,
    *,
    held_out: Figures | None = None,
    certified: bool = False,
    bounds: BoundsDocument | None = None,
) -> PointDocument:
    """Stored form of thresholds and their figures.

    half_b: the test half; its counts at each exit are stored, for `evaluate` to compare with.
    """
    counts = np.bincount(half_b.exits(thresholds), minlength=len(half_b.cumulative_macs))
    return PointDocument(
        **asdict(figures),
        thresholds=[write_threshold(value) for value in thresholds],
        held_out=None if held_out is None else figures_document(held_out),
        half_b_exits=counts.tolist(),
        certified=certified,
        bounds=bounds,
    )


def latency_document(
    observations: Observations, threads: int, device: str
) -> LatencyDocument | None:
    """Stored form of the latency of each exit at batch 1; None if it was not measured."""
    if observations.latencies is None:
        return None
    ms = observations.latencies.tolist()
    return LatencyDocument(ms=ms, batch=1, threads=threads, device=device)


def document_of(result: CalibrationResult, basis: Basis) -> ThresholdsDocument:
    """Content of `thresholds.json`, validated and sealed."""
    # Each field of the three has the name that it is stored under.
    content = {**dict(result.point), **vars(result), **vars(basis)}
    for name in ("point", "bounds"):
        del content[name]
    return thresholds_document(content)
