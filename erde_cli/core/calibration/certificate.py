"""Thresholds with a guarantee (`erde calibrate --max-risk`), and the record of their test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.calibration.chain import build_chain
from erde_cli.core.calibration.document import (
    BoundsDocument,
    CertificateDocument,
    TargetDocument,
    ThresholdsDocument,
)
from erde_cli.core.calibration.guarantee import ChainTest, certify
from erde_cli.core.calibration.observations import CalibrationObservations
from erde_cli.core.calibration.result import CalibrationResult, point_document
from erde_cli.core.calibration.statement import guarantee_text, no_guarantee_text
from erde_cli.core.calibration.tests_file import add_test, earlier_tests, keep_tests, test_of
from erde_cli.core.calibration.thresholds_file import sealed
from erde_cli.core.events import Observer
from erde_cli.core.inference.observations import Observations
from erde_cli.core.storage.short_digests import ShortDigests
from erde_cli.core.thresholds.target import Risk
from erde_cli.core.thresholds.targets import MaxRisk


def certified_result(calibration: CalibrationObservations, target: MaxRisk) -> CalibrationResult:
    """Thresholds that a guarantee covers; never early if nothing can be guaranteed.

    The tuning half builds the candidates. The test half tests them and gives all figures.
    """
    observations = calibration.observations
    tuning, test = observations.only(calibration.half_a), observations.only(calibration.half_b)
    chain = build_chain(tuning.scores, losses(tuning, target.risk), tuning.cumulative_macs)
    exits = [test.exits(thresholds) for thresholds in chain]
    tested = _test(test, exits, target)
    points = [
        point_document(
            thresholds, test.figures(taken), test,
            certified=index <= tested.index, bounds=_bounds(tested, index),
        )
        for index, (thresholds, taken) in enumerate(zip(chain, exits, strict=True))
    ]  # fmt: skip
    promised, point = tested.index > 0, points[tested.index]
    return CalibrationResult(
        point.model_copy(update={"certified": promised}),
        TargetDocument.of(target),
        len(observations),
        promised,
        promised,
        point.figures,
        test.exit_accuracy,
        test.exit_balanced_accuracy,
        _certificate(tested, target),
        points,
    )


def _test(test: Observations, exits: Sequence[IntArray], target: MaxRisk) -> ChainTest:
    """Test the candidates of a chain; `exits`: exit of each image for each candidate."""
    risks: tuple[Risk, ...] = ("disagreement", "accuracy-gap")
    images = np.arange(len(test))
    candidate_losses = {
        risk: np.stack([losses(test, risk)[images, taken] for taken in exits])
        for risk in (risks if test.labelled else risks[:1])
    }
    return certify(candidate_losses, target.risk, target.value, target.confidence)


def losses(observations: Observations, risk: Risk) -> FloatArray:
    """Loss of leaving at each exit, float64 [images, exits]; 0 at the last exit.

    disagreement: 1 if the exit and the last exit differ in their label. accuracy-gap: 1 if the exit
    is wrong and the last exit right, -1 if the exit is right and the last exit wrong.
    """
    if risk == "accuracy-gap":
        correct = observations.correct.astype(np.float64)
        return correct[:, -1:] - correct
    agrees = observations.correct if observations.agrees is None else observations.agrees
    return (~agrees).astype(np.float64)


def _certificate(tested: ChainTest, target: MaxRisk) -> CertificateDocument:
    promised = tested.index > 0
    certificate = CertificateDocument(
        risk=target.risk,
        epsilon=target.value,
        confidence=target.confidence,
        images=tested.images,
        tested=len(tested.p_values),
        rejected=tested.index,
        least_images=tested.least_images,
        images_wanted=tested.images_wanted,
        earlier=[],
        basis="test" if promised else None,
        promised=target.value if promised else None,
        observed=tested.observed[tested.index],
        statement="",
    )
    if promised:
        text = guarantee_text(certificate)
    else:
        too_many = len(tested.observed) > 1 and tested.observed[1] >= target.value
        text = no_guarantee_text(certificate, too_many=too_many)
    return certificate.model_copy(update={"statement": text})


def _bounds(tested: ChainTest, index: int) -> BoundsDocument:
    gaps = tested.bounds.get("accuracy-gap")
    return BoundsDocument(
        disagreement=tested.bounds["disagreement"][index],
        accuracy_gap=None if gaps is None else gaps[index],
    )


def record_test(
    document: ThresholdsDocument, bundle: Path, half_b: ShortDigests | None, observer: Observer
) -> ThresholdsDocument:
    """Record a test before its result is saved, and warn if its images were tested before.

    Args:
        document: the calibration; without a certificate it is returned unchanged.
        bundle: folder of the bundle that keeps the record.
        half_b: short digests of the files in the test half, uint64 [images]; None: not files.
        observer: receives the warning.

    Returns:
        The calibration; its certificate lists the earlier tests of the same images.

    Raises:
        BundleError: the calibration is a test, and the record cannot be read.
    """
    test, certificate = test_of(document), document.certificate
    if test is None or certificate is None:
        keep_tests(bundle)
        return document
    earlier = earlier_tests(bundle, test, half_b)
    add_test(bundle, test, half_b)
    if not earlier:
        return document
    levels = list(dict.fromkeys(f"{one.risk} {100 * one.epsilon:g} %" for one in earlier))
    observer.warning(
        f"The test half of these images was tested for {', '.join(levels)} before. A guarantee "
        "made now holds only if this test was not chosen by the results of the earlier ones. To "
        f"choose a level afterwards, type: erde calibrate {bundle} --pick max-risk=EPS"
    )
    certificate = certificate.model_copy(update={"earlier": earlier})
    return sealed(document.model_copy(update={"certificate": certificate}))
