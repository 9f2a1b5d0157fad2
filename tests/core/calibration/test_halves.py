"""The two halves of the calibration images."""

import numpy as np
import pytest

from erde_cli.core.calibration.halves import halves, tuning_half


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 1001])
def test_every_image_is_in_one_half_and_b_has_the_odd_one(count: int) -> None:
    half_a, half_b = halves(count, "abc")
    assert len(half_b) - len(half_a) == count % 2
    assert not set(half_a.tolist()) & set(half_b.tolist())
    assert sorted([*half_a, *half_b]) == list(range(count))


def test_the_halves_and_the_order_within_b_hang_on_the_fingerprint_alone() -> None:
    for one, other in zip(halves(1000, "abc"), halves(1000, "abc"), strict=True):
        np.testing.assert_array_equal(one, other)
    half_b, of_another = halves(1000, "abc")[1], halves(1000, "abd")[1]
    assert half_b.tolist() != of_another.tolist()
    assert 150 < len(set(half_b.tolist()) & set(of_another.tolist())) < 350
    # Random, not the order of the files: the betting test would be at the mercy of that.
    assert abs(np.corrcoef(np.arange(500), half_b)[0, 1]) < 0.15


def test_tuning_reads_half_a_only() -> None:
    half_a, half_b = halves(101, "abc")
    found = tuning_half(101, "abc")
    assert found.tolist() == sorted(half_a.tolist())
    assert not set(found.tolist()) & set(half_b.tolist())


def test_a_single_image_is_tuned_on_and_no_image_is_no_error() -> None:
    assert tuning_half(1, "abc").tolist() == [0]
    assert tuning_half(0, "abc").tolist() == []
