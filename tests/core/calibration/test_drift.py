"""Drift: told when it is there and matters, and hardly ever otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from erde_cli.core.calibration.drift import drift


def by_hand(expected: list[int], live: list[int]) -> float:
    """p-value of the two-sample chi-squared test, from its definition."""
    table = np.array([expected, live], dtype=float)
    chance = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = ((table - chance) ** 2 / chance).sum()
    return float(chi2.sf(statistic, table.shape[1] - 1))


@pytest.mark.parametrize("counts", [[10, 20, 30], [100_000, 0, 5], [1, 0], [7], [0, 0, 9]])
def test_identical_samples_never_drift(counts: list[int]) -> None:
    found = drift(counts, counts)
    assert (found.p_value, found.total_variation, found.drifted) == (pytest.approx(1), 0, False)
    tenfold = drift(counts, [10 * count for count in counts])
    assert tenfold.p_value == pytest.approx(1)
    assert not tenfold.drifted


def test_a_shift_is_told_with_its_size_and_its_exit() -> None:
    found = drift([600, 300, 100], [500, 300, 200])
    assert found.p_value == pytest.approx(by_hand([600, 300, 100], [500, 300, 200]))
    assert found.total_variation == pytest.approx(0.1)
    assert found.drifted
    assert found.exit == 2  # of equals the deeper one
    assert found.expected_rates == pytest.approx((0.6, 0.3, 0.1))
    assert found.live_rates == pytest.approx((0.5, 0.3, 0.2))


def test_two_exits_are_compared_without_correction() -> None:
    found = drift([60, 40], [40, 60])
    assert found.p_value == pytest.approx(by_hand([60, 40], [40, 60]))
    assert found.drifted


def test_a_tiny_shift_of_many_images_is_no_warning() -> None:
    found = drift([500_000, 500_000], [510_000, 490_000])
    assert found.p_value < 1e-9
    assert found.total_variation == pytest.approx(0.01)
    assert not found.drifted


def test_a_large_shift_of_few_images_is_no_warning() -> None:
    found = drift([6, 4], [4, 6])
    assert found.total_variation == pytest.approx(0.2)
    assert found.p_value > 0.01
    assert not found.drifted


def test_a_shift_the_size_of_chance_for_these_numbers_is_no_warning() -> None:
    """A 3-point shift of 2 x 1000 images: large enough to matter, not enough to be sure."""
    found = drift([500, 500], [530, 470])
    assert found.total_variation > 0.02
    assert not found.drifted
    assert drift([50_000, 50_000], [53_000, 47_000]).drifted


@pytest.mark.parametrize(
    ("expected", "live", "pooled"),
    [
        # an exit at which few leave goes with the next
        ([100, 3, 97], [80, 2, 118], ([100, 100], [80, 120])),
        # ... and the last with the one before
        ([100, 97, 3], [80, 118, 2], ([100, 100], [80, 120])),
        ([0, 100, 100], [1, 79, 120], ([100, 100], [80, 120])),
        # the smaller sample decides: 5 of 60 images are 0.5 of 6
        ([30, 5, 25, 0], [1, 0, 4, 1], None),
        # several small ones together are enough
        ([100, 3, 4, 93], [80, 6, 6, 108], ([100, 7, 93], [80, 12, 108])),
        # exactly 5 in the smaller sample is enough
        ([5, 95], [5, 95], ([5, 95], [5, 95])),
    ],
)
def test_exits_with_few_images_are_pooled_with_their_neighbours(
    expected: list[int], live: list[int], pooled: tuple[list[int], list[int]] | None
) -> None:
    found = drift(expected, live)
    assert found.p_value == pytest.approx(by_hand(*pooled) if pooled else 1)
    assert len(found.live_rates) == len(expected)  # what is told is told of every exit


def test_exits_that_nobody_reaches_do_no_harm() -> None:
    found = drift([50, 0, 50, 0], [10, 0, 90, 0])
    assert found.p_value == pytest.approx(by_hand([50, 50], [10, 90]))
    assert found.drifted


def test_one_image_alone_is_never_a_drift() -> None:
    found = drift([4000, 1000], [0, 1])
    assert (found.p_value, found.drifted) == (1, False)


@pytest.mark.parametrize("rates", [(0.5, 0.3, 0.2), (0.9, 0.07, 0.02, 0.01), (0.98, 0.02)])
@pytest.mark.parametrize(("then", "now"), [(2500, 10_000), (500, 300), (5000, 60)])
def test_false_alarms_are_rare(rates: tuple[float, ...], then: int, now: int) -> None:
    generator = np.random.default_rng(0)
    draws = 2000
    alarms = sum(
        drift(generator.multinomial(then, rates), generator.multinomial(now, rates)).drifted
        for _ in range(draws)
    )
    assert alarms <= 0.015 * draws


def test_a_real_shift_is_hardly_ever_missed() -> None:
    generator = np.random.default_rng(1)
    found = [
        drift(
            generator.multinomial(2500, (0.5, 0.3, 0.2)),
            generator.multinomial(2500, (0.42, 0.3, 0.28)),
        )
        for _ in range(200)
    ]
    assert np.mean([one.drifted for one in found]) > 0.98


def test_the_sentence_names_the_shift() -> None:
    assert drift([949, 51], [877, 123]).in_words() == (
        "12.3 % of the images reach the last exit; 5.1 % of the calibration images did."
    )
    assert drift([500, 300, 200], [200, 450, 350]).in_words() == (
        "20.0 % of the images leave at exit 1 of 3; 50.0 % of the calibration images did."
    )


def test_samples_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="must have images"):
        drift([3, 4], [0, 0])
    with pytest.raises(ValueError, match="inhomogeneous"):
        drift([3, 4], [1, 2, 3])
