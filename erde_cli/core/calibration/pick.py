"""`erde calibrate --pick`: another point of the stored frontier, without any image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from erde_cli.core.calibration.statement import UNCOVERED, promise
from erde_cli.core.calibration.thresholds_file import (
    BoundsDocument,
    CertificateDocument,
    FiguresDocument,
    PointDocument,
    ThresholdsDocument,
    target_to_json,
)
from erde_cli.core.errors import BundleError
from erde_cli.core.events import Observer
from erde_cli.core.storage.json_files import Json
from erde_cli.core.targets import Target

_ROUNDING = 1e-9


def choose_point(
    path: Path, document: ThresholdsDocument, target: Target, full: float, observer: Observer
) -> tuple[PointDocument, Target, bool]:
    """The stored point for a target, the target in full, and whether the promise covers it.

    The metric is the one that the stored points were made by.

    Raises:
        BundleError: what the target needs was not measured.
    """
    refuse_unmeasured(path, document, target)
    if document.certificate is not None and target.kind == "max_risk":
        named = document.certificate
        target = Target("max_risk", target.value, named.risk, named.confidence)
    target = replace(target, metric=document.metric)
    point = pick(document.frontier, target, full)
    certified = point.certified
    if target.kind == "max_risk":  # the bounds hold for all candidates together
        certified = excess(point, target, full) <= 0
    if excess(point, target, full) > 0:
        observer.warning(
            f"No stored point meets {target.option} {target.value:g}; the nearest one is used."
        )
    if document.certificate is not None and not certified:
        observer.warning(
            "No candidate that the promise covers meets this target: the choice is not certified."
        )
    return point, target, certified


def refuse_unmeasured(path: Path, document: ThresholdsDocument, target: Target) -> None:
    """See that the stored points have the figure a target speaks of.

    Raises:
        BundleError: they have not.
    """
    needs = {
        "max_drop": (document.accuracy is not None, "no labels", "--data FOLDER --max-drop 1"),
        "min_accuracy": (document.accuracy is not None, "no labels", "--data FOLDER --max-drop 1"),
        "max_latency": (document.latency is not None, "no latencies", "--max-latency MS"),
        "max_risk": (document.certificate is not None, "no bounds of risk", "--max-risk 0.05"),
    }
    there, got, option = needs.get(target.kind, (True, "", ""))
    if not there:
        raise BundleError(
            f"{path} was calibrated without what {target.option} needs.",
            got=got,
            hint=f"calibrate it again with: erde calibrate {path} {option}",
            expected="a calibration that measured it",
        )


def pick(points: Sequence[PointDocument], target: Target, full: float) -> PointDocument:
    """Best of the stored points for a target: certified ones first, if one of them meets it."""
    certified = [point for point in points if point.certified and target.kind != "max_risk"]
    for pool in (certified, points):
        if pool:
            best = min(pool, key=lambda point: _preference(point, target, full))
            if excess(best, target, full) <= 0:
                return best
    return min(points, key=lambda point: _preference(point, target, full))


def excess(point: PointDocument, target: Target, full: float) -> float:
    """By how much a point violates a target; 0 or less where it meets it."""
    return _short(point, target, full, point.bounds) - _ROUNDING


def content_of(point: PointDocument, target: Target, full: float, *, certified: bool) -> Json:
    """What a picked point puts into `thresholds.json`; `met` refers to what was held out."""
    held_out = point.held_out or FiguresDocument.model_validate(
        point.model_dump(include=set(FiguresDocument.model_fields))
    )
    bounds = point.bounds
    return {
        **point.model_dump(include=set(FiguresDocument.model_fields)),
        "thresholds": point.thresholds,
        "half_b_exits": point.half_b_exits,
        "target": target_to_json(target, "picked"),
        "met": _short(held_out, target, full, bounds) <= _ROUNDING,
        "met_where_chosen": excess(point, target, full) <= 0,
        "certified": certified,
        "held_out": held_out.model_dump(),
    }


def _certificate_of(
    tested: CertificateDocument, point: PointDocument, target: Target, *, certified: bool
) -> Json:
    """The certificate of a picked point: what is promised of it, and on what grounds."""
    if tested.risk == "accuracy-gap":
        observed = (point.full_accuracy or 0.0) - (point.accuracy or 0.0)
    else:
        observed = 1 - (point.agreement or 0.0)
    by_bounds = target.kind == "max_risk"
    promised = target.value if by_bounds else tested.epsilon
    text = UNCOVERED
    if certified:
        text = promise(
            tested.risk, promised, tested.confidence, tested.images, observed, by_bounds=by_bounds
        )
    return {
        **tested.model_dump(),
        "basis": ("bounds" if by_bounds else "test") if certified else None,
        "promised": promised if certified else None,
        "observed": observed,
        "statement": text,
    }


def _short(
    figures: FiguresDocument, target: Target, full: float, bounds: BoundsDocument | None
) -> float:
    accuracy = figures.by_metric or 0.0
    if target.kind == "max_drop":
        return (figures.full_by_metric or 0.0) - target.value / 100 - accuracy
    if target.kind == "min_accuracy":
        return target.value - accuracy
    if target.kind == "max_macs":
        return figures.expected_macs / full - target.value
    if target.kind == "max_latency":
        return (figures.expected_latency or math.inf) / target.value - 1
    bound = None if bounds is None else bounds.of(target.risk)
    return math.inf if bound is None else bound - target.value


def _preference(point: PointDocument, target: Target, full: float) -> tuple[float, float, float]:
    """Least violation; then the cheaper, or within a budget the more accurate."""
    accuracy = point.agreement if point.by_metric is None else point.by_metric
    figures = (point.expected_macs, -(accuracy or 0.0))
    if target.kind in ("max_macs", "max_latency"):
        figures = figures[::-1]
    return (max(excess(point, target, full), 0.0), *figures)
