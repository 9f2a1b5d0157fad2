"""Paired differences: intervals by hand, p-values and verdicts that agree with them."""

import math

import numpy as np
import pytest

from erde_cli.core.comparison.paired import corrected, difference, simultaneous, verdict


def drawn_with(seeds: int, deviation: float) -> np.ndarray:
    """Draws whose mean over seeds has exactly this standard deviation."""
    base = np.array([-1.0, 1.0] * 50)
    base *= deviation / base.std(ddof=1)
    return np.tile(base, (seeds, 1))


def test_the_interval_holds_both_variances() -> None:
    found = difference([0.01, 0.02, 0.03], drawn_with(3, 0.002))
    # s = 0.01, t with 2 degrees of freedom = 4.302653
    half = math.sqrt((4.302653 * 0.01 / math.sqrt(3)) ** 2 + (1.959964 * 0.002) ** 2)
    assert found.mean == pytest.approx(0.02)
    assert found.sd_seeds == pytest.approx(0.01)
    assert found.sd_images == pytest.approx(0.002)
    assert found.interval == pytest.approx((0.02 - half, 0.02 + half), abs=1e-7)
    assert found.interval_images == pytest.approx(
        (0.02 - 1.959964 * 0.002, 0.02 + 1.959964 * 0.002), abs=1e-7
    )


def test_five_seeds_have_four_degrees_of_freedom() -> None:
    values = [0.0, 0.01, 0.02, 0.03, 0.04]
    found = difference(values, np.zeros((5, 10)))
    half = 2.776445 * np.std(values, ddof=1) / math.sqrt(5)
    assert found.interval == pytest.approx((0.02 - half, 0.02 + half), abs=1e-7)


def test_images_sway_the_mean_over_seeds_and_not_each_seed() -> None:
    row = drawn_with(1, 0.01)
    found = difference([0.0, 0.0], np.concatenate([row, -row]))
    assert found.sd_images == 0  # what one seed gains with these images the other loses


def test_of_one_seed_nothing_is_said_of_others() -> None:
    found = difference([0.05], drawn_with(1, 0.001))
    assert (found.interval, found.sd_seeds, found.p_value) == (None, None, None)
    assert found.interval_images[0] > 0
    assert verdict(found.interval) is None


@pytest.mark.parametrize("values", [[0.01, 0.03, 0.05], [-0.02, -0.01, -0.03, -0.02], [0.1, -0.1]])
@pytest.mark.parametrize("deviation", [0.0, 0.001, 0.02])
def test_the_p_value_agrees_with_the_interval(values: list[float], deviation: float) -> None:
    found = difference(values, drawn_with(len(values), deviation))
    assert found.interval is not None
    assert found.p_value is not None
    low, high = found.interval
    assert (found.p_value < 0.05) == (low > 0 or high < 0)


def test_the_p_value_is_that_of_the_t_test_where_images_play_no_part() -> None:
    from scipy.stats import ttest_1samp

    values = [0.01, 0.03, 0.04, 0.02]
    found = difference(values, np.zeros((4, 10)))
    assert found.p_value == pytest.approx(ttest_1samp(values, 0).pvalue)


def test_no_difference_at_all_and_no_doubt_at_all() -> None:
    assert difference([0.0, 0.0], np.zeros((2, 10))).p_value == 1
    assert difference([0.1, 0.1], np.zeros((2, 10))).p_value == pytest.approx(0, abs=1e-11)


def test_simultaneous_intervals_by_hand() -> None:
    found = difference([0.01, 0.02, 0.03], drawn_with(3, 0.002))
    # quantiles for 1 % on both sides together, of t with 2 degrees of freedom and of the normal
    half = math.sqrt((9.924843 * 0.01 / math.sqrt(3)) ** 2 + (2.575829 * 0.002) ** 2)
    assert simultaneous(found, 5) == pytest.approx((0.02 - half, 0.02 + half), abs=1e-7)
    assert simultaneous(found, 1) == found.interval
    assert simultaneous(difference([0.05], drawn_with(1, 0.001)), 5) is None
    assert (corrected(0.01, 5), corrected(0.4, 5), corrected(None, 5)) == (0.05, 1.0, None)


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((0.1, 0.2), "better"),
        ((-0.2, -0.1), "worse"),
        ((0.0, 0.2), "no difference shown"),
        ((-0.2, 0.0), "no difference shown"),
        ((-0.1, 0.2), "no difference shown"),
        (None, None),
    ],
)
def test_three_words(interval: tuple[float, float] | None, word: str | None) -> None:
    assert verdict(interval) == word


def test_simultaneous_intervals_miss_together_no_more_often_than_they_say() -> None:
    rng = np.random.default_rng(6)
    truths, missed = [0.0, 0.01, -0.02, 0.03], 0
    for _ in range(300):
        images = rng.normal(0, 0.01, size=(4, 1))
        seeds = np.array(truths)[:, None] + images + rng.normal(0, 0.02, size=(4, 3))
        drawn = np.tile(rng.normal(0, 0.01, size=200), (3, 1))
        found = [simultaneous(difference(row.tolist(), drawn), 4) for row in seeds]
        missed += any(
            one is not None and not one[0] <= truth <= one[1]
            for one, truth in zip(found, truths, strict=True)
        )
    assert missed / 300 < 0.07


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    truth, covered = 0.01, 0
    for _ in range(400):
        images = rng.normal(0, 0.01)  # what these test images add, to all seeds alike
        seeds = truth + images + rng.normal(0, 0.02, size=3)
        found = difference(seeds.tolist(), np.tile(rng.normal(0, 0.01, size=200), (3, 1)))
        assert found.interval is not None
        covered += found.interval[0] <= truth <= found.interval[1]
    assert covered / 400 > 0.93
