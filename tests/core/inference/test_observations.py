"""Accuracy, exit rates, expected MACs, and the interval of a paired difference."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erde_cli.core.arrays import BoolArray
from erde_cli.core.comparison.paired import paired_drop_interval
from erde_cli.core.inference.observations import adaptive_of, exit_rates


def pair(both: int, lost: int, gained: int, neither: int) -> tuple[BoolArray, BoolArray]:
    """Two answers to the same images: `lost` are right by the reference only."""
    reference = [True] * both + [True] * lost + [False] * gained + [False] * neither
    other = [True] * both + [False] * lost + [True] * gained + [False] * neither
    return np.array(reference, dtype=bool), np.array(other, dtype=bool)


def test_exit_rates_are_the_shares_that_leave_at_each_exit() -> None:
    assert exit_rates(np.array([0, 2, 2, 0, 2]), 4) == (0.4, 0.0, 0.6, 0.0)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=50))
def test_exit_rates_sum_to_1(exits: list[int]) -> None:
    rates = exit_rates(np.array(exits), 5)
    assert len(rates) == 5
    assert sum(rates) == pytest.approx(1, abs=1e-12)


def test_accuracy_and_expected_macs_are_those_of_the_exit_each_image_leaves_at() -> None:
    correct = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], dtype=bool)
    exits = np.array([0, 1, 2, 2])
    result = adaptive_of(exits, correct[range(4), exits], np.array([100.0, 300.0, 1000.0]))
    assert result.accuracy == 0.75
    assert result.exit_rates == (0.25, 0.25, 0.5)
    assert result.expected_macs == pytest.approx(0.25 * 100 + 0.25 * 300 + 0.5 * 1000)


@pytest.mark.parametrize(("exit_", "macs"), [(0, 10.0), (1, 25.0)])
def test_leaving_at_one_exit_costs_that_exit(exit_: int, macs: float) -> None:
    correct = np.array([[1, 0], [1, 1], [0, 1]], dtype=bool)
    result = adaptive_of(np.full(3, exit_), correct[:, exit_], np.array([10.0, 25.0]))
    assert result.expected_macs == macs
    assert result.accuracy == correct[:, exit_].mean()


def test_the_interval_of_a_drop_is_that_of_bonett_and_price_by_hand() -> None:
    low, high = paired_drop_interval(*pair(both=80, lost=9, gained=3, neither=8))
    difference = (10 - 4) / 102
    error = np.sqrt(14 / 102 - difference**2) / np.sqrt(102)
    assert low == pytest.approx(100 * (difference - 1.959964 * error), rel=1e-6)
    assert high == pytest.approx(100 * (difference + 1.959964 * error), rel=1e-6)


COUNT = st.integers(0, 40)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(both=COUNT, lost=COUNT, gained=COUNT, neither=st.integers(1, 40))
def test_the_interval_holds_the_drop_that_was_seen_and_lies_within_100_points(
    both: int, lost: int, gained: int, neither: int
) -> None:
    reference, other = pair(both, lost, gained, neither)
    low, high = paired_drop_interval(reference, other)
    assert low < 100 * (reference.mean() - other.mean()) < high
    assert -100 <= low < high <= 100


@pytest.mark.parametrize("images", [1, 5, 50, 5000])
def test_the_interval_holds_a_drop_of_everything(images: int) -> None:
    low, high = paired_drop_interval(*pair(0, images, 0, 0))
    assert low < 100
    assert high == 100


@pytest.mark.parametrize("counts", [(80, 9, 3, 8), (50, 0, 0, 5), (0, 6, 0, 0), (1, 0, 12, 7)])
def test_swapping_the_two_answers_mirrors_the_interval(counts: tuple[int, int, int, int]) -> None:
    reference, other = pair(*counts)
    low, high = paired_drop_interval(reference, other)
    assert paired_drop_interval(other, reference) == pytest.approx((-high, -low), abs=1e-9)


def test_the_order_of_the_images_plays_no_part() -> None:
    reference, other = pair(80, 9, 3, 8)
    order = np.random.default_rng(0).permutation(len(reference))
    assert paired_drop_interval(reference[order], other[order]) == paired_drop_interval(
        reference, other
    )


@pytest.mark.parametrize("counts", [(80, 9, 3, 8), (95, 0, 0, 5)])
def test_the_interval_shrinks_with_the_number_of_images(counts: tuple[int, int, int, int]) -> None:
    widths = []
    for factor in (1, 4, 16, 64):
        low, high = paired_drop_interval(*pair(*(factor * count for count in counts)))
        widths.append(high - low)
    assert all(large > 1.8 * small for large, small in pairwise(widths))


@pytest.mark.parametrize(
    ("images", "lost", "gained"),
    [
        (359, 0.03, 0.02),
        (359, 0.006, 0.003),
        (359, 0.0112, 0.0028),
        (100, 0.1, 0.1),
        (1000, 0.05, 0.01),
        (10_000, 0.001, 0.0002),
        (359, 0.0056, 0.0),
        (100, 0.02, 0.0),
        (10_000, 0.0002, 0.0),
    ],
)
def test_the_interval_covers_the_true_drop_in_93_percent_of_draws(
    images: int, lost: float, gained: float
) -> None:
    generator = np.random.default_rng(0)
    draws = generator.multinomial(images, [lost, gained, 1 - lost - gained], size=2000)
    intervals = np.array(
        [paired_drop_interval(*pair(same, down, up, 0)) for down, up, same in draws.tolist()]
    )
    drop = 100 * (lost - gained)
    covered = (intervals[:, 0] <= drop) & (drop <= intervals[:, 1])
    assert covered.mean() >= 0.93
