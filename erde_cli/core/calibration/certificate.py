"""The part of `erde calibrate` that promises: `--max-risk`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.calibration.chain import build_chain
from erde_cli.core.calibration.guarantee import Certified, certify
from erde_cli.core.calibration.observations import CalibrationObservations
from erde_cli.core.calibration.result import CalibrationResult, point_document
from erde_cli.core.calibration.statement import guarantee_text, no_guarantee_text
from erde_cli.core.calibration.tests_file import add_test, earlier_tests, keep_tests, test_of
from erde_cli.core.calibration.thresholds_file import (
    BoundsDocument,
    CertificateDocument,
    TargetDocument,
    ThresholdsDocument,
    sealed,
)
from erde_cli.core.events import Observer
from erde_cli.core.inference.observations import Observations
from erde_cli.core.storage.short_digests import ShortDigests
from erde_cli.core.thresholds.target import Risk
from erde_cli.core.thresholds.targets import MaxRisk


def certified(seen: CalibrationObservations, target: MaxRisk) -> CalibrationResult:
    """The thresholds that a promise covers, or, where nothing can be promised, none early.

    Candidates come from half A; half B tests them, and gives all figures.
    """
    half_a, half_b = seen.observations.only(seen.half_a), seen.observations.only(seen.half_b)
    chain = build_chain(half_a.scores, losses(half_a, target.risk), half_a.cumulative_macs)
    exits = [half_b.exits(thresholds) for thresholds in chain]
    found = _tested(half_b, exits, target)
    points = [
        point_document(
            thresholds, half_b.figures(taken), half_b,
            certified=index <= found.index, bounds=_bounds(found, index),
        )
        for index, (thresholds, taken) in enumerate(zip(chain, exits, strict=True))
    ]  # fmt: skip
    promised, point = found.index > 0, points[found.index]
    return CalibrationResult(
        point.model_copy(update={"certified": promised}),
        TargetDocument.of(target),
        len(seen.observations),
        promised,
        promised,
        point.figures,
        half_b.exit_accuracy,
        half_b.exit_balanced_accuracy,
        _certificate(found, target),
        points,
    )


def _tested(half_b: Observations, exits: Sequence[IntArray], target: MaxRisk) -> Certified:
    """Test the candidates of a chain, of which `exits` says where each image leaves."""
    risks: tuple[Risk, ...] = ("disagreement", "accuracy-gap")
    every = np.arange(len(half_b))
    stored = {
        name: np.stack([losses(half_b, name)[every, taken] for taken in exits])
        for name in (risks if half_b.labelled else risks[:1])
    }
    return certify(stored, target.risk, target.value, target.confidence)


def losses(observations: Observations, risk: Risk) -> FloatArray:
    """What leaving at each exit adds to a risk, float64 [images, exits]; 0 at the last.

    disagreement: 1 where the exit answers otherwise than the last one. accuracy-gap: 1 where it is
    wrong and the last one right, -1 where it is right and the last one wrong.
    """
    if risk == "accuracy-gap":
        correct = observations.correct.astype(np.float64)
        return correct[:, -1:] - correct
    agrees = observations.correct if observations.agrees is None else observations.agrees
    return (~agrees).astype(np.float64)


def _certificate(found: Certified, target: MaxRisk) -> CertificateDocument:
    observed, promised = found.observed[found.index], found.index > 0
    if promised:
        text = guarantee_text(target.risk, target.value, target.confidence, found.images, observed)
    else:
        text = no_guarantee_text(
            target.value,
            target.confidence,
            found.images,
            tested=len(found.p_values),
            too_many=len(found.observed) > 1 and found.observed[1] >= target.value,
            least=found.least_images,
            wanted=found.images_wanted,
        )
    return CertificateDocument(
        risk=target.risk,
        epsilon=target.value,
        confidence=target.confidence,
        images=found.images,
        tested=len(found.p_values),
        rejected=found.index,
        least_images=found.least_images,
        images_wanted=found.images_wanted,
        earlier=[],
        basis="test" if promised else None,
        promised=target.value if promised else None,
        observed=observed,
        statement=text,
    )


def _bounds(found: Certified, index: int) -> BoundsDocument:
    gaps = found.bounds.get("accuracy-gap")
    return BoundsDocument(
        disagreement=found.bounds["disagreement"][index],
        accuracy_gap=None if gaps is None else gaps[index],
    )


def recorded(
    document: ThresholdsDocument, bundle: Path, half_b: ShortDigests | None, observer: Observer
) -> ThresholdsDocument:
    """Record a test before its result is kept, and warn of choosing among several.

    Args:
        document: the calibration.
        bundle: whose record it is.
        half_b: short digests of the files that tested, uint64 [images]; None: they are no files.
        observer: is warned.

    Returns:
        The calibration with all that half B of the same images was tested for before.

    Raises:
        BundleError: the record cannot be read, and this is a test.
    """
    this, certificate = test_of(document), document.certificate
    if this is None or certificate is None:
        keep_tests(bundle)
        return document
    earlier = earlier_tests(bundle, this, half_b)
    add_test(bundle, this, half_b)
    if not earlier:
        return document
    levels = list(dict.fromkeys(f"{one.risk} {100 * one.epsilon:g} %" for one in earlier))
    observer.warning(
        f"Half B of these images was tested for {', '.join(levels)} before. A promise made now "
        "holds only if this test was not chosen by the results of those; to choose a level "
        f"afterwards type: erde calibrate {bundle} --pick max-risk=EPS"
    )
    certificate = certificate.model_copy(update={"earlier": earlier})
    return sealed(document.model_copy(update={"certificate": certificate}))
