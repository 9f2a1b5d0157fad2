"""What stands beside a promise: bounds valid for all candidates, and how many images would do."""

import math

import numpy as np
import pytest
from scipy.stats import beta

from erde_cli.core.calibration.guarantee import (
    certify,
    disagreement_p_value,
    images_wanted,
    least_images,
    p_value,
    upper_bounds,
)
from erde_cli.core.thresholds.target import Risk
from tests.core.calibration.test_guarantee import RISKS, gaps, nested


@pytest.mark.parametrize("count", [0, 1, 3, 99, 100])
def test_bounds_of_disagreement_are_those_of_clopper_and_pearson(count: int) -> None:
    first, bound = upper_bounds("disagreement", nested([0, count], 100), 0.02)
    assert first == 0
    if count == 100:
        assert bound == 1
        return
    assert bound == pytest.approx(beta.ppf(0.98, count + 1, 100 - count))
    assert disagreement_p_value(count, 100, bound) == pytest.approx(0.02)


def test_bounds_of_the_accuracy_gap_are_where_the_test_turns() -> None:
    losses = np.stack([np.zeros(800), gaps(0, 800), gaps(1, 800, 0.0, 0.3), gaps(2, 800, 1.0, 0)])
    first, *found = upper_bounds("accuracy-gap", losses, 0.04)
    assert first == 0
    for row, bound in zip(losses[1:3], found, strict=False):
        assert p_value("accuracy-gap", row, bound) <= 0.04
        assert p_value("accuracy-gap", row, bound - 1e-6) > 0.04
    assert found[0] > losses[1].mean()
    assert found[1] < 0  # more accurate than the last exit, by -0.3
    assert found[2] == 1


def test_bounds_share_the_level_among_candidates_and_risks() -> None:
    losses = nested([0, 2, 9, 40], 500)
    both = certify({"disagreement": losses, "accuracy-gap": losses}, "disagreement", 0.05, 0.9)
    alone = certify({"disagreement": losses}, "disagreement", 0.05, 0.9)
    for found, level in ((both, 0.1 / 6), (alone, 0.1 / 3)):
        by_hand = [beta.ppf(1 - level, count + 1, 500 - count) for count in (2, 9, 40)]
        np.testing.assert_allclose(found.bounds["disagreement"], [0, *by_hand])
    assert set(alone.bounds) == {"disagreement"}
    assert both.bounds["accuracy-gap"] == upper_bounds("accuracy-gap", losses, (1 - 0.9) / 6)
    assert (both.index, both.p_values) == (alone.index, alone.p_values)


@pytest.mark.parametrize(
    ("count", "images"), [(0, 30), (1, 40), (1, 60), (2, 60), (8, 200), (19, 400)]
)
def test_the_images_wanted_would_do_and_are_more_than_there_were(count: int, images: int) -> None:
    losses = nested([count], images)[0]
    assert p_value("disagreement", losses, 0.05) > 0.1
    wanted = images_wanted("disagreement", losses, 0.05, 0.9)
    assert wanted is not None
    assert wanted > images
    cautious = math.ceil(count * wanted / images - 1e-6)
    assert disagreement_p_value(cautious, wanted, 0.05) <= 0.1
    if count == 0:
        assert wanted == least_images(0.05, 0.9)


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (4, 0), (8, 2), (10, 4)])
def test_the_images_wanted_for_the_accuracy_gap_are_about_enough(worse: int, better: int) -> None:
    losses = np.zeros(200)
    losses[:worse], losses[worse : worse + better] = 1, -1
    wanted = images_wanted("accuracy-gap", losses, 0.05, 0.99)
    assert wanted is not None
    generator = np.random.default_rng(0)
    assert wanted > 150
    passes = [
        np.mean([p_value("accuracy-gap", generator.choice(losses, n), 0.05) <= 0.01
                 for _ in range(60)])
        for n in (wanted // 3, 3 * wanted)
    ]  # fmt: skip
    assert passes[0] < 0.5
    assert passes[1] > 0.75


@pytest.mark.parametrize("risk", RISKS)
def test_no_number_of_images_would_do_where_the_risk_is_too_high(risk: Risk) -> None:
    assert images_wanted(risk, nested([10], 200)[0], 0.05, 0.9) is None
    assert images_wanted(risk, nested([11], 200)[0], 0.05, 0.9) is None
    found = certify({risk: nested([0, 50, 60], 200)}, risk, 0.05, 0.9)
    assert (found.index, found.images_wanted) == (0, None)
    assert found.least_images == (45 if risk == "disagreement" else None)
