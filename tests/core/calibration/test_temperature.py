"""Temperatures: found again where they are known, and never anyone's label."""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from erde_cli.core.calibration.estimate import calibrate
from erde_cli.core.calibration.temperature import (
    LEAST,
    MOST,
    calibration_gap,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    temperature_reports,
)
from erde_cli.core.inference.observations import Observations
from erde_cli.core.inference.routing import all_scores
from erde_cli.core.thresholds.target import Target
from erde_cli.core.thresholds.targets import MaxDrop, MaxMacs

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def draw(
    images: int, classes: int, temperature: float, seed: int = 0
) -> tuple[FloatArray, IntArray]:
    """Logits z, and labels drawn from softmax(z / temperature)."""
    generator = np.random.default_rng(seed)
    logits = 3 * generator.normal(size=(images, classes))
    chances = softmax(logits / temperature, axis=1)
    labels = (chances.cumsum(axis=1) < generator.random((images, 1))).sum(axis=1)
    return logits, labels.clip(max=classes - 1)


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("known", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_at_is_found(classes: int, known: float) -> None:
    logits, labels = draw(20_000, classes, known)
    assert fit_temperature(logits, labels) == pytest.approx(known, rel=0.06)
    assert fit_temperature(logits.astype(np.float32), labels) == pytest.approx(known, rel=0.06)


@pytest.mark.parametrize("images", [1, 2, 7, 40, 400])
@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 20.0, 1e4])
def test_no_temperature_makes_the_labels_more_likely(images: int, scale: float) -> None:
    for seed in range(5):
        logits, labels = draw(images, 4, 1.0, seed)
        logits *= scale

        def loss(log: float, z: FloatArray = logits, y: IntArray = labels) -> float:
            return negative_log_likelihood(z, y, math.exp(log))

        bounds = (math.log(LEAST), math.log(MOST))
        other = minimize_scalar(loss, bounds=bounds, method="bounded")
        found = fit_temperature(logits, labels)
        assert LEAST <= found <= MOST
        least = min(other.fun, loss(bounds[0]), loss(bounds[1]))
        assert loss(math.log(found)) <= least + 1e-12 * max(1, least)


@pytest.mark.parametrize("start", [0.01, 0.05, 0.3, 7.0, 20.0, 1e3])
def test_where_the_search_begins_makes_no_difference(start: float) -> None:
    logits, labels = draw(300, 5, 1.7)
    assert fit_temperature(logits, labels, start) == pytest.approx(
        fit_temperature(logits, labels), rel=1e-7
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e6])
def test_answers_that_are_all_right_want_the_least_temperature(scale: float) -> None:
    logits = scale * np.eye(6)[np.arange(30) % 6]
    assert fit_temperature(logits, np.arange(30) % 6) == LEAST
    assert fit_temperature(logits, (np.arange(30) + 1) % 6) == MOST


def test_logits_that_tell_nothing_keep_temperature_1() -> None:
    assert fit_temperature(np.full((5, 3), 7.0), np.arange(5) % 3) == 1


def test_nothing_is_fitted_on_no_image_or_on_infinite_logits() -> None:
    with pytest.raises(ValueError, match="one image or more"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(np.array([[np.inf, 0.0]]), np.array([0]))


def test_the_likelihood_is_scipys_at_any_temperature() -> None:
    logits, labels = draw(50, 7, 1.0)
    each = np.random.default_rng(1).uniform(0.1, 5, 50)
    for temperature in (1.0, 0.4, 3.0, each):
        column = np.reshape(temperature, (-1, 1))
        expected = -log_softmax(logits / column, axis=1)[np.arange(50), labels].mean()
        assert negative_log_likelihood(logits, labels, temperature) == pytest.approx(expected)
    assert np.isfinite(negative_log_likelihood(1e6 * logits, labels, LEAST))


def test_the_calibration_error_of_a_few_images_is_that_by_hand() -> None:
    """Fewer than 15 images: one bin each, so the mean of |right - confidence|."""
    confidence = np.array([0.9, 0.6, 0.8])
    right = np.array([True, False, True])
    assert calibration_gap(confidence, right) == pytest.approx((0.1 + 0.6 + 0.2) / 3)
    logits = np.log([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    assert expected_calibration_error(logits, np.array([0, 1, 1])) == pytest.approx(0.3)
    # at temperature 1/2 probabilities are squared and normalised
    squared = [0.81 / 0.82, 0.36 / 0.52, 0.64 / 0.68]
    expected = (1 - squared[0] + squared[1] + 1 - squared[2]) / 3
    assert expected_calibration_error(logits, np.array([0, 1, 1]), 0.5) == pytest.approx(expected)


def test_bins_hold_as_many_images_each() -> None:
    """30 images, 15 bins of two neighbours: right and wrong cancel within a bin only."""
    confidence = np.linspace(0.5, 0.6, 30)
    right = np.arange(30) % 2 == 0
    pairs = confidence.reshape(15, 2).mean(axis=1)
    assert calibration_gap(confidence, right) == pytest.approx(np.abs(0.5 - pairs).mean())
    halves = np.arange(30) < 14
    gaps = [1 - pair if index < 7 else pair for index, pair in enumerate(pairs)]
    assert calibration_gap(confidence, halves) == pytest.approx(np.mean(gaps))


def test_equal_confidences_share_a_bin_whatever_their_order() -> None:
    confidence = np.concatenate([np.full(50, 0.7), np.full(30, 0.9), [0.3]])
    right = np.arange(81) % 4 == 0
    whole = sum(
        abs(float((right[same] - confidence[same]).sum()))
        for same in (confidence == value for value in (0.3, 0.7, 0.9))
    )
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(81)
        assert calibration_gap(confidence[order], right[order]) == pytest.approx(whole / 81)
    assert calibration_gap(np.full(40, 0.5), np.arange(40) % 2 == 0) == pytest.approx(0)
    assert calibration_gap(np.array([0.25]), np.array([True])) == 0.75


def test_probabilities_that_mean_what_they_say_have_hardly_any_error() -> None:
    logits, labels = draw(50_000, 10, 2.0)
    assert expected_calibration_error(logits, labels, 2.0) < 0.01
    assert expected_calibration_error(logits, labels, 1.0) > 0.1


def test_every_exit_has_its_own_temperature_and_report() -> None:
    known = (0.7, 3.0)
    drawn = draw(8000, 6, 1.0)
    logits = np.stack([drawn[0] * value for value in known], axis=1)
    reports = temperature_reports(logits, drawn[1])
    assert [report.temperature for report in reports] == pytest.approx(known, rel=0.05)
    for index, report in enumerate(reports):
        assert report.nll_before == negative_log_likelihood(logits[:, index], drawn[1])
        assert report.ece_before == expected_calibration_error(logits[:, index], drawn[1])
        assert report.nll_after < report.nll_before
        assert report.ece_after < 0.02 < report.ece_before
    assert temperature_reports(logits, drawn[1]) == reports


def test_an_image_is_scored_at_a_temperature_that_it_took_no_part_in() -> None:
    """Of two images each is scored by the other's: right alone wants 0.05, wrong alone 20."""
    logits, labels = np.array([[2.0, 0.0], [1.0, 0.0]]), np.array([0, 1])
    report = temperature_reports(logits[:, None], labels)[0]
    expected = [math.log1p(math.exp(-2 / MOST)), math.log1p(math.exp(1 / LEAST))]
    assert report.nll_after == pytest.approx(np.mean(expected))
    surest = [1 / (1 + math.exp(-2 / MOST)), 1 / (1 + math.exp(-1 / LEAST))]
    assert report.ece_after == pytest.approx((1 - surest[0] + surest[1]) / 2)


def test_five_folds_are_fitted_on_four_fifths_each() -> None:
    logits, labels = draw(23, 3, 1.0)
    fold = np.random.default_rng(0).permutation(23) % 5
    losses = np.empty(23)
    for image in range(23):
        others = fold != fold[image]
        fitted = fit_temperature(logits[others], labels[others])
        one = slice(image, image + 1)
        losses[image] = negative_log_likelihood(logits[one], labels[one], fitted)
    found = temperature_reports(logits[:, None], labels)[0]
    assert found.nll_after == pytest.approx(losses.mean(), rel=1e-6)


def test_a_single_image_is_scored_at_temperature_1() -> None:
    report = temperature_reports(np.array([[[2.0, 0.0]]]), np.array([0]))[0]
    assert (report.temperature, report.nll_after) == (LEAST, report.nll_before)


def test_noise_is_not_told_as_a_gain() -> None:
    """Labels that the logits know nothing of, few images: what was fitted flatters itself."""
    flattered = fair = 0.0
    for seed in range(60):
        logits, labels = draw(15, 4, 1.0, seed)
        fitted = fit_temperature(logits, labels)
        flattered += negative_log_likelihood(logits, labels, fitted)
        fair += temperature_reports(logits[:, None], labels)[0].nll_after
    assert fair > flattered + 1


NEAR = st.one_of(
    st.floats(-8, 8, width=32),
    st.sampled_from([1.0, math.nextafter(1.0, 2), 1 + 2**-23, 1 - 2**-24, 0.0, 1e-30, -1e-30]),
)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(logits=st.lists(NEAR, min_size=3, max_size=3), temperature=st.floats(0.05, 20))
def test_a_temperature_changes_no_answer_that_is_counted(
    logits: list[float], temperature: float
) -> None:
    """Near ties too: dividing could make two logits equal, and the other one first."""
    row = np.array([logits], np.float32)
    for label in range(3):
        labels = np.array([label])
        right = bool(row.argmax() == label)
        error = expected_calibration_error(row, labels, temperature)
        largest = softmax(row.astype(np.float64) / temperature).max()
        assert error == pytest.approx(1 - largest if right else largest, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_logits_that_division_makes_equal_keep_their_label(dtype: type[np.floating]) -> None:
    largest = np.nextafter(dtype(2), dtype(1))
    below = np.nextafter(largest, dtype(1))
    row = np.array([[below, largest, below]])
    merged = 0
    for temperature in np.linspace(1.1, 1.9, 50).astype(dtype):
        divided = (row / temperature)[0]
        merged += int(divided[0] == divided[1])
        errors = [
            expected_calibration_error(row, np.array([label]), float(temperature))
            for label in range(3)
        ]
        assert errors == pytest.approx([1 / 3, 2 / 3, 1 / 3])  # only label 1 is right
    assert merged > 10


@pytest.mark.parametrize("target", [MaxDrop(2.0), MaxMacs(0.6)], ids=str)
@pytest.mark.parametrize("temperatures", [(0.5, 0.6, 0.7), (2.0, 0.5, 3.0), (3.0, 2.0, 1.5)])
def test_for_two_classes_thresholds_searched_anew_give_the_same_exits(
    target: Target, temperatures: tuple[float, ...]
) -> None:
    generator = np.random.default_rng(4)
    images = 400
    # how far the two logits lie apart: all different, so that rounding makes no ties
    apart = np.stack([generator.permutation(images) for _ in range(3)], axis=1) * 0.009 + 0.2
    right = generator.random((images, 3)) < 1 / (1 + np.exp(-0.6 * apart - [0.0, 0.3, 0.9]))
    logits = torch.from_numpy(np.stack([apart, np.zeros_like(apart)], axis=2)).float()
    costs = np.array([1.0, 2.5, 4.0])

    plain = Observations(all_scores(logits).double().numpy(), right, costs)
    scaled = Observations(all_scores(logits, temperatures).double().numpy(), right, costs)
    assert not np.allclose(plain.scores, scaled.scores)
    one, other = calibrate(plain, target), calibrate(scaled, target)
    exits = plain.exits(one.thresholds)
    assert len(set(exits.tolist())) > 1
    assert np.array_equal(exits, scaled.exits(other.thresholds))
    assert (one.met, one.chosen) == (other.met, other.chosen)
    assert one.thresholds != other.thresholds


def test_with_ten_classes_a_temperature_reorders_images() -> None:
    torn = np.array([0.60, 0.398, *[0.00025] * 8])
    spread = np.array([0.85, *[0.0167] * 9])
    probabilities = np.stack([torn, spread / spread.sum()])
    logits = torch.from_numpy(np.log(probabilities)).float()[:, None]
    for temperature, first_is_surer in ((1.0, True), (0.5, False)):
        scores = all_scores(logits, [temperature])[:, 0]
        assert (scores[0] < scores[1]) == first_is_surer
        powers = probabilities ** (1 / temperature)
        expected = entropy(powers, axis=1)
        assert scores.numpy() == pytest.approx(expected, rel=1e-4)


def test_many_images_exits_and_classes_take_seconds() -> None:
    generator = np.random.default_rng(0)
    logits = 3 * generator.normal(size=(10_000, 8, 100)).astype(np.float32)
    start = perf_counter()
    temperature_reports(logits, logits[:, 3].argmax(axis=1))
    assert perf_counter() - start < 15
