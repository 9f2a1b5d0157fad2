"""Which half chooses and which one tests."""

from dataclasses import replace

import numpy as np
import pytest

from erde_cli.core.calibration.certificate import certified_result, losses
from erde_cli.core.calibration.document import CertificateDocument
from erde_cli.core.calibration.halves import halves
from erde_cli.core.calibration.observations import CalibrationObservations
from erde_cli.core.calibration.result import CalibrationResult
from erde_cli.core.inference.observations import Observations
from erde_cli.core.thresholds.target import Risk
from erde_cli.core.thresholds.targets import MaxRisk
from erde_cli.core.thresholds.written import read_threshold

COUNT = 1200
HALF_A, HALF_B = halves(COUNT, "fingerprint")
TARGETS = [MaxRisk(0.08, risk=risk, confidence=0.9) for risk in ("disagreement", "accuracy-gap")]


def images() -> Observations:
    generator = np.random.default_rng(0)
    scores = generator.random((COUNT, 3))
    agrees = generator.random((COUNT, 3)) > 0.3 * scores
    agrees[:, -1] = True
    right = generator.random((COUNT, 1)) < 0.9
    correct = np.where(agrees, right, ~right & (generator.random((COUNT, 1)) < 0.5))
    return Observations(scores, correct, np.array([1.0, 2.0, 3.0]), agrees)


def result_of(
    observations: Observations, target: MaxRisk
) -> tuple[CalibrationResult, CertificateDocument]:
    seen = CalibrationObservations(
        "fingerprint", observations, observations, None, (), HALF_A, HALF_B, None
    )
    found = certified_result(seen, target)
    assert found.certificate is not None
    return found, found.certificate


def changed(observations: Observations, half: np.ndarray) -> Observations:
    """Other scores and answers on one half."""
    generator = np.random.default_rng(1)
    scores, agrees, correct = (
        np.array(values) for values in (observations.scores, observations.agrees,
                                        observations.correct)
    )  # fmt: skip
    scores[half] = generator.random((len(half), 3)) ** 3
    agrees[half] = generator.random((len(half), 3)) < 0.5
    agrees[:, -1] = True
    correct[half] = generator.random((len(half), 3)) < 0.5
    return replace(observations, scores=scores, agrees=agrees, correct=correct)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.risk)
def test_half_b_chooses_no_candidate_and_half_a_gives_no_figure(target: MaxRisk) -> None:
    before, certificate = result_of(images(), target)
    assert before.point.certified
    chain = [point.thresholds for point in before.frontier]
    of_b, other = result_of(changed(images(), HALF_B), target)
    assert [point.thresholds for point in of_b.frontier] == chain
    assert other != certificate
    of_a, _ = result_of(changed(images(), HALF_A), target)
    assert [point.thresholds for point in of_a.frontier] != chain
    never = [found.frontier[0] for found in (before, of_a)]
    assert never[0].full_accuracy == never[1].full_accuracy
    assert certificate.images == len(HALF_B) == 600


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.risk)
def test_the_chain_is_the_same_for_every_promise_and_what_is_rejected_is_marked(
    target: MaxRisk,
) -> None:
    found, certificate = result_of(images(), target)
    stricter, other = result_of(images(), replace(target, value=0.04, confidence=0.99))
    for one, same in zip(found.frontier, stricter.frontier, strict=True):
        assert (one.thresholds, one.expected_macs) == (same.thresholds, same.expected_macs)
    rejected = certificate.rejected
    assert other.rejected < rejected
    marks = [point.certified for point in found.frontier]
    assert marks == [True] * (rejected + 1) + [False] * (len(marks) - rejected - 1)
    assert found.point.thresholds == found.frontier[rejected].thresholds


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.risk)
def test_the_risk_that_is_tested_is_that_of_the_deployed_thresholds(target: MaxRisk) -> None:
    observations = images()
    found, certificate = result_of(observations, target)
    half_b = observations.only(HALF_B)
    exits = half_b.exits([read_threshold(one) for one in found.point.thresholds])
    every = np.arange(len(half_b))
    if target.risk == "disagreement":
        observed = 1 - half_b.agrees[every, exits].mean()  # type: ignore[index]
    else:
        observed = half_b.correct[:, -1].mean() - half_b.correct[every, exits].mean()
    assert certificate.observed == pytest.approx(observed)
    assert observed < target.value


def test_losses_by_hand() -> None:
    agrees = np.array([[True, True], [False, True], [False, True], [False, True]])
    correct = np.array([[True, True], [True, False], [False, True], [False, False]])
    observed = Observations(np.zeros((4, 2)), correct, np.array([1.0, 2.0]), agrees)
    assert losses(observed, "disagreement").tolist() == [[0, 0], [1, 0], [1, 0], [1, 0]]
    assert losses(observed, "accuracy-gap").tolist() == [[0, 0], [-1, 0], [1, 0], [0, 0]]


@pytest.mark.parametrize("risk", ["disagreement", "accuracy-gap"])
def test_without_an_answer_to_be_had_every_image_goes_to_the_last_exit(risk: Risk) -> None:
    poor = replace(images(), agrees=np.zeros((COUNT, 3), bool), correct=np.zeros((COUNT, 3), bool))
    poor.agrees[:, -1] = poor.correct[:, -1] = True  # type: ignore[index]
    found, certificate = result_of(poor, MaxRisk(0.01, risk=risk, confidence=0.9))
    point = found.point
    assert (found.met, point.certified, point.thresholds) == (False, False, ["never"] * 2)
    assert point.exit_rates == [0, 0, 1]
    assert certificate.least_images == (230 if risk == "disagreement" else None)
