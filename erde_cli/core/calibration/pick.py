"""`erde calibrate --pick`: another point of the stored frontier, without images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from erde_cli.core.calibration.document import (
    FORMAT,
    CertificateDocument,
    PointDocument,
    TargetDocument,
    ThresholdsDocument,
)
from erde_cli.core.calibration.statement import UNCOVERED, guarantee_text
from erde_cli.core.calibration.thresholds_file import sealed
from erde_cli.core.errors import BundleError
from erde_cli.core.events import Observer
from erde_cli.core.thresholds.target import Need, Target
from erde_cli.core.thresholds.targets import MaxRisk

_MEASURED_BY: dict[Need, str] = {
    "labels": "--data FOLDER --max-drop 1",
    "latencies": "--max-latency MS",
    "bounds of risk": "--max-risk 0.05",
}


@dataclass(frozen=True)
class Picked:
    """A stored point, its target, whether the guarantee covers it, and the network's full MACs."""

    point: PointDocument
    target: Target
    certified: bool
    full_macs: float


def choose_point(
    path: Path, document: ThresholdsDocument, target: Target, full: float, observer: Observer
) -> Picked:
    """Pick the stored point for a target, by the metric of the stored points.

    Warns if no point meets the target, or if the pick is not certified.

    Raises:
        BundleError: the calibration did not measure what the target needs.
    """
    refuse_unmeasured(path, document, target)
    tested = document.certificate
    if tested is not None and isinstance(target, MaxRisk):
        target = replace(target, risk=tested.risk, confidence=tested.confidence)
    target = replace(target, metric=document.metric)
    point = pick(document.frontier, target, full)
    met = target.met(point, full)
    # The bounds hold for all candidates together.
    certified = met if target.guarantees else point.certified
    if not met:
        observer.warning(
            f"No stored point meets {target.option} {target.value:g}; the nearest one is used."
        )
    if tested is not None and not certified:
        observer.warning(
            "No candidate that the guarantee covers meets this target, so the choice is not "
            "certified."
        )
    return Picked(point, target, certified, full)


def refuse_unmeasured(path: Path, document: ThresholdsDocument, target: Target) -> None:
    """Check that the stored points have the figures that a target needs.

    Raises:
        BundleError: they do not.
    """
    measured: dict[Need, object] = {
        "labels": document.accuracy,
        "latencies": document.latency,
        "bounds of risk": document.certificate,
    }
    if target.needs is not None and measured[target.needs] is None:
        raise BundleError(
            f"{path} was calibrated without the figures that {target.option} needs.",
            got=f"no {target.needs}",
            hint=f"calibrate again with: erde calibrate {path} {_MEASURED_BY[target.needs]}",
            expected=f"a calibration with {target.needs}",
        )


def pick(points: Sequence[PointDocument], target: Target, full: float) -> PointDocument:
    """The best stored point for a target; a certified one if any of those meets the target."""
    certified = [point for point in points if point.certified and not target.guarantees]
    for pool in (certified, points):
        if pool:
            best = min(pool, key=lambda point: target.preference(point, full))
            if target.met(best, full):
                break
    return best


def with_point(document: ThresholdsDocument, picked: Picked) -> ThresholdsDocument:
    """The calibration with a picked point in force; `met` refers to the held-out figures."""
    point, target, full = picked.point, picked.target, picked.full_macs
    figures, tested = point.figures, document.certificate
    changes = {
        **dict(figures),
        "format": FORMAT,
        "thresholds": point.thresholds,
        "half_b_exits": point.half_b_exits,
        "target": TargetDocument.of(target, "picked"),
        "met": target.met(point.held_out or point, full),
        "met_where_chosen": target.met(point, full),
        "certified": picked.certified,
        "held_out": point.held_out or figures,
        "certificate": None if tested is None else _certificate(tested, picked),
    }
    return sealed(document.model_copy(update=changes))


def _certificate(tested: CertificateDocument, picked: Picked) -> CertificateDocument:
    """The certificate of a picked point, with its own guarantee."""
    point, by_bounds = picked.point, picked.target.guarantees
    if tested.risk == "accuracy-gap":
        observed = (point.full_accuracy or 0.0) - (point.accuracy or 0.0)
    else:
        observed = 1 - (point.agreement or 0.0)
    promised = picked.target.value if by_bounds else tested.epsilon
    changes = {
        "basis": ("bounds" if by_bounds else "test") if picked.certified else None,
        "promised": promised if picked.certified else None,
        "observed": observed,
    }
    certificate = tested.model_copy(update=changes)
    text = guarantee_text(certificate) if picked.certified else UNCOVERED
    return certificate.model_copy(update={"statement": text})
