"""Randomness is a pure function of (seed, purpose, position)."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, chisquare

from erde_cli.core.randomness import derive_seed, integers_per_image, permutation

IMAGES = np.arange(20_000, dtype=np.int64)
LEAST_P = 1e-4  # the draws are fixed, so this fails always or never

Key = tuple[int, str, int]
KEYS: list[Key] = [(0, "flip", 0), (0, "flip", 1), (0, "top", 0), (1, "flip", 0)]


def draw(key: Key, below: int = 10, images: NDArray[np.int64] = IMAGES) -> NDArray[np.int64]:
    seed, purpose, epoch = key
    return integers_per_image(images, below, seed, purpose, epoch)


def split_mix_64(state: int) -> int:
    """One output of the published generator, in Python's own integers."""
    mask = 2**64 - 1
    bits = state & mask
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & mask
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
    return bits ^ (bits >> 31)


def test_a_seed_is_the_same_each_time_and_fits_a_signed_word() -> None:
    seeds = [derive_seed(seed, "order", epoch) for seed in range(20) for epoch in range(20)]
    assert seeds == [derive_seed(seed, "order", epoch) for seed in range(20) for epoch in range(20)]
    assert len(set(seeds)) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62


@pytest.mark.parametrize(
    "other",
    [(2, "order", 3, 4), (1, "orders", 3, 4), (1, "order", 4, 3), (1, "order", 34), (1, "order")],
)
def test_a_seed_depends_on_each_part_of_what_it_is_for(other: tuple[int, str]) -> None:
    assert derive_seed(*other) != derive_seed(1, "order", 3, 4)


def test_the_draws_are_those_of_split_mix_64() -> None:
    key = derive_seed(5, "flip", 2)
    expected = [split_mix_64(n * 0x9E3779B97F4A7C15 + key) % 1000 for n in range(50)]
    assert draw((5, "flip", 2), 1000, np.arange(50)).tolist() == expected


def test_what_an_image_draws_does_not_depend_on_the_others_in_its_batch() -> None:
    everything = draw(KEYS[0])
    order = np.random.default_rng(0).permutation(IMAGES)
    np.testing.assert_array_equal(draw(KEYS[0], images=order), everything[order])
    np.testing.assert_array_equal(draw(KEYS[0], images=order[:7]), everything[order[:7]])
    alone = [int(draw(KEYS[0], images=np.array([n]))[0]) for n in (0, 1, 19_999)]
    assert alone == everything[[0, 1, 19_999]].tolist()


def test_an_image_that_stands_twice_draws_the_same_twice() -> None:
    twice = draw(KEYS[0], 1_000_000, np.array([3, 8, 3]))
    assert twice[0] == twice[2] != twice[1]


@pytest.mark.parametrize("below", [1, 2, 3, 9, 224])
@pytest.mark.parametrize("key", KEYS)
def test_draws_are_uniform_from_0_up_to_the_bound(key: Key, below: int) -> None:
    drawn = draw(key, below)
    assert drawn.dtype == np.int64
    assert drawn.min() >= 0
    assert drawn.max() < below
    counts = np.bincount(drawn, minlength=below)
    assert below == 1 or chisquare(counts).pvalue > LEAST_P


@pytest.mark.parametrize("other", KEYS[1:])
@pytest.mark.parametrize("below", [2, 9])
def test_draws_of_other_epochs_purposes_and_seeds_are_independent(other: Key, below: int) -> None:
    table = np.zeros((below, below))
    np.add.at(table, (draw(KEYS[0], below), draw(other, below)), 1)
    assert chi2_contingency(table).pvalue > LEAST_P


@pytest.mark.parametrize("step", [1, 2, 64])
def test_images_next_to_each_other_draw_independently(step: int) -> None:
    table = np.zeros((4, 4))
    drawn = draw(KEYS[0], 4)
    np.add.at(table, (drawn[:-step], drawn[step:]), 1)
    assert chi2_contingency(table).pvalue > LEAST_P


def test_one_image_draws_uniformly_over_the_epochs() -> None:
    drawn = [int(draw((0, "top", epoch), 9, np.array([17]))[0]) for epoch in range(3000)]
    assert chisquare(np.bincount(drawn, minlength=9)).pvalue > LEAST_P


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_a_permutation_has_each_number_once(count: int) -> None:
    order = permutation(count, 3, "order", 1)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(count))


def test_a_permutation_is_the_same_each_time_and_another_for_each_key() -> None:
    keys = [(0, "order", 0), (0, "order", 1), (1, "order", 0), (0, "split", 0)]
    orders = [permutation(100, *key).tolist() for key in keys]
    assert orders == [permutation(100, *key).tolist() for key in keys]
    assert len({tuple(order) for order in orders}) == 4
    assert list(range(100)) not in orders
