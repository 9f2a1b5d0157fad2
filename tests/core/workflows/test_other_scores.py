"""Scores that erde does not ship, from calibration to prediction, as if it shipped them."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.inference.answers import Answers, answer_all, ready
from erde_cli.core.inference.observations import Observations
from erde_cli.core.inference.routing import all_scores, first_exit
from erde_cli.core.thresholds.scores import Score
from erde_cli.core.thresholds.targets import MaxLatency, MaxMacs, MaxRisk
from erde_cli.core.workflows.calibrate import calibrate_bundle
from erde_cli.core.workflows.evaluate import evaluate_bundle
from erde_cli.core.workflows.export import ExportRequest, export_bundle
from erde_cli.core.workflows.export_int8 import recalibrated
from erde_cli.core.workflows.images import dataset_of, load_split
from erde_cli.core.workflows.options import Options

from ...conftest import Cli
from ...other_scores import OTHERS, name_of, shipped

OPTIONS = Options("cpu", threads=1)


@pytest.fixture(params=OTHERS, ids=name_of)
def score(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Score:
    """A score that is known to erde until the test ends."""
    return shipped(request.param, monkeypatch)


@pytest.fixture
def student(run_copy: Path, score: Score) -> Path:
    """A student whose images leave by that score, at temperatures, half of the cost at most."""
    path = run_copy / "student"
    calibrate_bundle(path, MaxMacs(0.7), OPTIONS, temperature=True, score=score)
    return path


def answers_on(bundle: Bundle, split: str) -> Answers:
    """Logits, entropies and the rest at the bundle's temperatures."""
    context = OPTIONS.inference_context("float32")
    store = load_split(dataset_of(bundle, OPTIONS), split, OPTIONS)  # type: ignore[arg-type]
    return answer_all(
        ready(bundle.model, context), store, bundle.normalisation, context,
        bundle.require_thresholds().temperatures, keep_logits=True,
    )  # fmt: skip


def exits_by(score: Score, bundle: Bundle, answers: Answers) -> np.ndarray:
    """Where images leave by the rule, [images]."""
    document = bundle.require_thresholds()
    assert answers.logits is not None
    scores = all_scores(torch.from_numpy(answers.logits), document.temperatures, score)
    return first_exit(scores, document.values).numpy()


def test_it_is_stored_evaluated_predicted_and_exported(
    student: Path, score: Score, tmp_path: Path, cli: Cli
) -> None:
    bundle = load_bundle(student)
    document = bundle.require_thresholds()
    assert (document.criterion, document.unit) == (score.name, score.unit)
    on_calibration = exits_by(score, bundle, answers_on(bundle, "calibration"))
    rates = np.bincount(on_calibration, minlength=3) / len(on_calibration)
    assert document.exit_rates == pytest.approx(rates.tolist(), abs=0.01)
    assert 0.1 < rates[-1] < 0.9

    evaluation = evaluate_bundle(student, OPTIONS).evaluation
    answers = answers_on(bundle, "test")
    exits = exits_by(score, bundle, answers)
    shares = np.bincount(exits, minlength=3) / len(exits)
    assert evaluation.adaptive.exit_rates == pytest.approx(shares.tolist(), abs=0.01)
    assert np.array_equal(evaluation.answers.entropies, answers.scores)
    assert evaluation.entropy_gaps is not None
    top = score.largest(bundle.model.classes)
    assert evaluation.sweep[-2].threshold == pytest.approx(0.95 * top)
    sweep = (student / "evaluation/test/sweep.csv").read_text()
    assert sweep.startswith(f"threshold_{score.unit},")
    code, shown, _ = cli("evaluate", student)
    assert (code, shown.count(f"θ, {score.unit}"), "θ, nats" in shown) == (0, 2, False)

    store = load_split(dataset_of(bundle, OPTIONS), "test", OPTIONS)
    found = bundle.predict(store.part(0, len(store)).numpy())
    left = np.array([one.exit for one in found])
    assert (left == exits).mean() > 0.99
    same = left == exits
    entropies = np.array([one.entropy for one in found])[same]
    assert entropies == pytest.approx(answers.scores[np.arange(len(exits)), exits][same], abs=1e-4)

    for form in ("onnx", "onnx-staged", "torch-export"):
        out = tmp_path / ("model.pt2" if form == "torch-export" else form)
        done = export_bundle(student, ExportRequest(form, out), OPTIONS)  # type: ignore[arg-type]
        assert done.record.score == score
        assert all(done.checks[0].exits)


def test_the_same_promise_of_another_score_is_another_test(student: Path, score: Score) -> None:
    target = MaxRisk(0.3, risk="disagreement", confidence=0.8)
    calibrate_bundle(student, target, OPTIONS)
    document = calibrate_bundle(student, target, OPTIONS, score=score).document
    assert document.certificate is not None
    assert [(one.risk, one.epsilon) for one in document.certificate.earlier] == [
        ("disagreement", 0.3)
    ]
    tests = json.loads((student / "tests.json").read_text())["tests"]
    assert [one["criterion"] for one in tests] == ["entropy", score.name]


def test_a_promise_is_tested_on_its_scores(student: Path, score: Score) -> None:
    target = MaxRisk(0.3, risk="disagreement", confidence=0.8)
    document = calibrate_bundle(student, target, OPTIONS, score=score).document
    assert (document.criterion, document.certified) == (score.name, True)
    assert document.certificate is not None
    assert document.certificate.observed < 0.3
    bundle = load_bundle(student)
    answers = answers_on(bundle, "calibration")
    exits = exits_by(score, bundle, answers)
    differs = answers.predictions[np.arange(len(exits)), exits] != answers.predictions[:, -1]
    assert differs.mean() == pytest.approx(document.certificate.observed, abs=0.1)
    counts = np.bincount(exits, minlength=3) / len(exits)
    assert np.array(document.exit_rates) == pytest.approx(counts, abs=0.1)
    assert counts[0] > 0


def test_latencies_are_measured_while_it_decides(student: Path, score: Score) -> None:
    document = calibrate_bundle(student, MaxLatency(1e3), OPTIONS, score=score).document
    assert document.latency is not None
    assert len(document.latency.ms) == 3
    assert document.met


def test_thresholds_chosen_again_for_int8_are_of_the_same_score(
    student: Path, score: Score
) -> None:
    bundle = load_bundle(student)
    answers = answers_on(bundle, "calibration")
    seen = Observations(answers.scores, answers.correct, np.array([1.0, 2.0, 3.0]))
    images = SimpleNamespace(kind="calibration split", fingerprint="", half_b=np.arange(9))
    after = recalibrated(bundle.require_thresholds(), seen, images)  # type: ignore[arg-type]
    assert (after.criterion, after.unit) == (score.name, score.unit)
