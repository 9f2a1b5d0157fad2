"""The picture of a calibration, of what stands in `thresholds.json`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.frontier_plot import Curve, Dot, FrontierPicture, draw_frontier
from erde_cli.core.calibration.temperature_effect import TemperatureEffect
from erde_cli.core.calibration.thresholds_file import ThresholdsDocument
from erde_cli.core.events import Observer
from erde_cli.core.thresholds.target import Figures

PICTURE = "frontier.png"


def draw_calibration(
    bundle: Bundle,
    document: ThresholdsDocument,
    full_macs: float,
    effect: TemperatureEffect | None,
    observer: Observer,
) -> Path | None:
    """Draw the frontier into the bundle; None where it could not be drawn."""
    points, chain = document.frontier, document.certificate is not None
    curves = [Curve("on half B" if chain else "on the images that chose them", _dots(points))]
    if not chain:
        held_out = [point.held_out for point in points if point.held_out is not None]
        curves.append(Curve("held out", _dots(held_out)))
    if effect is not None and effect.without is not None:
        dots = _dots(point.held_out for point in effect.without.frontier)
        curves.append(Curve("held out, without temperatures", dots))
    labelled = document.accuracy is not None
    picture = FrontierPicture(
        title=f"{bundle.document.recipe.get('name', '')}: {document.images:,} images "
        f"({document.source})",
        measure=document.metric.replace("_", " ") if labelled else "agreement with the last exit",
        curves=curves,
        certified=_dots(point for point in points if point.certified) if chain else [],
        chosen=_dots([document])[0],
        last_exit=(full_macs, document.full_by_metric or 1.0),
    )
    return draw_frontier(bundle.path / PICTURE, picture, observer)


def _dots(figures: Iterable[Figures]) -> list[Dot]:
    """Expected MACs, and accuracy by the metric, or agreement without labels."""
    found = []
    for one in figures:
        share = one.agreement if one.by_metric is None else one.by_metric
        found.append((one.expected_macs, share or 0.0))
    return found
