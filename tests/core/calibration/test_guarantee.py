"""The tests that a promise rests on: against brute force, and what λ may not know."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from erde_cli.core.calibration.chain import build_chain
from erde_cli.core.calibration.guarantee import (
    accuracy_gap_p_values,
    bets,
    certify,
    disagreement_p_value,
    last_rejected,
    least_images,
    p_value,
)
from erde_cli.core.thresholds.target import Risk

Array = NDArray[np.float64]
RISKS: list[Risk] = ["disagreement", "accuracy-gap"]


def gaps(seed: int, images: int, worse: float = 0.05, better: float = 0.03) -> Array:
    """d in -1, 0 and 1, [images]."""
    generator = np.random.default_rng(seed)
    return generator.choice([-1.0, 0.0, 1.0], images, p=[better, 1 - better - worse, worse])


def nested(counts: list[int], images: int) -> Array:
    """Losses 0 and 1 of a chain, of which candidate j has counts[j], in a fixed random order."""
    ranks = np.random.default_rng(0).permutation(images)
    return np.array([ranks < count for count in counts], dtype=np.float64)


@pytest.mark.parametrize("images", [1, 7, 45, 230])
@pytest.mark.parametrize("epsilon", [0.01, 0.05, 0.3])
def test_disagreement_is_the_sum_of_binomial_probabilities(images: int, epsilon: float) -> None:
    for count in {0, 1, images // 2, images}:
        chances = [
            math.comb(images, k) * epsilon**k * (1 - epsilon) ** (images - k)
            for k in range(count + 1)
        ]
        assert disagreement_p_value(count, images, epsilon) == pytest.approx(sum(chances))
        losses = np.array([1.0] * count + [0.0] * (images - count))
        assert p_value("disagreement", losses, epsilon) == pytest.approx(sum(chances))


def betting_by_a_loop(losses: list[float], epsilon: float) -> float:
    wealth = best = 1.0
    total = spread = 0.0
    for i, loss in enumerate(losses, start=1):
        variance = (0.25 + spread) / i
        bet = min(0.5, math.sqrt(2 * math.log(10) / (len(losses) * variance)))
        wealth *= 1 + bet * (epsilon - loss)
        best = max(best, wealth)
        total += loss
        spread += (loss - total / (i + 1)) ** 2
    return 1 / best


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("images", [1, 2, 50, 1000])
def test_the_accuracy_gap_is_a_game_played_image_by_image(images: int, epsilon: float) -> None:
    for seed in range(4):
        losses = gaps(seed, images, worse=0.02 * seed)
        expected = betting_by_a_loop(losses.tolist(), epsilon)
        assert p_value("accuracy-gap", losses, epsilon) == pytest.approx(expected, rel=1e-9)


def test_a_game_by_hand() -> None:
    losses = np.array([[0.0, 1.0]])
    np.testing.assert_allclose(bets(losses), [[0.5, 0.5]])  # √(ln 10 / ¼) is above ½
    assert accuracy_gap_p_values(losses, 0.2)[0] == pytest.approx(1 / 1.1)  # before the loss
    assert accuracy_gap_p_values(np.array([[1.0, 0.0]]), 0.2)[0] == 1
    many = bets(np.zeros((1, 400)))[0]
    assert many[0] == pytest.approx(math.sqrt(2 * math.log(10) / (400 * 0.25)))
    assert many[-1] == 0.5


def test_no_bet_knows_the_image_it_is_placed_on_nor_a_later_one() -> None:
    for images in (2, 40, 1500):
        losses = gaps(images, images)
        placed = bets(losses[None])[0]
        assert ((placed >= 0) & (placed <= 0.5)).all()
        for i in range(0, images, max(1, images // 10)):
            for changed in (-1.0, 0.0, 1.0):
                other = losses.copy()
                other[i] = changed
                np.testing.assert_array_equal(bets(other[None])[0, : i + 1], placed[: i + 1])
        reversed_after = np.concatenate([losses[:10], losses[10:][::-1]])
        np.testing.assert_array_equal(bets(reversed_after[None])[0, :10], placed[:10])


def test_no_bet_is_won_on_average_where_the_risk_is_epsilon() -> None:
    # Every sequence of four images, weighted by its chance: the wealth is expected to stay at 1.
    chance = {-1.0: 0.2, 0.0: 0.5, 1.0: 0.3}
    total = 0.0
    for code in range(3**4):
        losses = [float(code // 3**i % 3 - 1) for i in range(4)]
        weight = math.prod(chance[loss] for loss in losses)
        factors = 1 + bets(np.array([losses]))[0] * (0.1 - np.array(losses))
        total += weight * float(np.prod(factors))
    assert total == pytest.approx(1)


@pytest.mark.parametrize("risk", RISKS)
def test_a_laxer_epsilon_never_has_a_larger_p(risk: Risk) -> None:
    for seed in range(5):
        losses = gaps(seed, 300)
        losses = np.abs(losses) if risk == "disagreement" else losses
        found = [p_value(risk, losses, epsilon) for epsilon in np.linspace(0.001, 0.999, 200)]
        assert all(after <= before for before, after in pairwise(found))
        assert all(0 <= p <= 1 for p in found)


@pytest.mark.parametrize(
    ("p_values", "index"),
    [([], 0), ([0.2], 0), ([0.1], 1), ([0.0, 0.1, 0.1001, 0.0], 2), ([0.01] * 3, 3),
     ([0.5, 0.0, 0.0], 0), ([0.01, math.nan, 0.01], 1)],
)  # fmt: skip
def test_the_last_rejected_is_deployed(p_values: list[float], index: int) -> None:
    assert last_rejected(np.array(p_values), 0.1) == index


@pytest.mark.parametrize("risk", RISKS)
def test_certify_stops_at_the_first_that_is_not_rejected(risk: Risk) -> None:
    losses = nested([0, 0, 5, 200, 0], 1000)
    found = certify({risk: losses}, risk, 0.05, 0.9)
    assert found.index == 2
    assert [p <= 0.1 for p in found.p_values] == [True, True, False, True]
    assert found.p_values == tuple(p_value(risk, row, 0.05) for row in losses[1:])
    assert found.observed == (0, 0, 0.005, 0.2, 0)
    assert (found.images, found.images_wanted) == (1000, None)


def test_the_least_number_of_images() -> None:
    assert least_images(0.05, 0.9) == 45
    assert least_images(0.01, 0.9) == 230
    for epsilon in np.arange(0.01, 1, 0.01):
        for confidence in (0.5, 0.8, 0.9, 0.95, 0.99):
            least = least_images(epsilon, confidence)
            assert disagreement_p_value(0, least, epsilon) <= 1 - confidence
            if least > 1:
                assert disagreement_p_value(0, least - 1, epsilon) > 1 - confidence
    assert certify({"disagreement": nested([0, 0], 44)}, "disagreement", 0.05, 0.9).index == 0
    assert certify({"disagreement": nested([0, 0], 45)}, "disagreement", 0.05, 0.9).index == 1


def test_one_image_wrong_in_the_risk_is_never_an_advantage() -> None:
    for risk in RISKS:
        losses = gaps(3, 200)
        losses = np.abs(losses) if risk == "disagreement" else losses
        for at in np.flatnonzero(losses == 0)[:20]:
            other = losses.copy()
            other[at] = 1
            assert p_value(risk, other, 0.1) >= p_value(risk, losses, 0.1)


@pytest.mark.parametrize("risk", RISKS)
def test_a_chain_of_candidate_0_alone_has_no_test(risk: Risk) -> None:
    alone = certify({name: np.zeros((1, 50)) for name in RISKS}, risk, 0.05, 0.9)
    assert (alone.index, alone.p_values, alone.bounds[risk]) == (0, (), (0.0,))


levels = st.floats(0.001, 0.6)
confidences = st.floats(0.5, 0.999)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from(RISKS),
    st.tuples(levels, levels), st.tuples(confidences, confidences),
)  # fmt: skip
def test_a_stricter_promise_never_lets_more_leave_early_nor_saves_more(
    seed: int, images: int, risk: Risk, epsilons: tuple[float, float], sure: tuple[float, float]
) -> None:
    generator = np.random.default_rng(seed)
    exits = int(generator.integers(2, 5))
    scores = generator.random((2 * images, exits))
    losses = (generator.random(scores.shape) < 0.4 * scores).astype(np.float64)
    if risk == "accuracy-gap":
        losses -= generator.random(scores.shape) < 0.1
    losses[:, -1] = 0
    costs = np.cumsum(generator.uniform(1, 3, exits))
    chain = build_chain(scores[:images], losses[:images], costs)
    limits = np.array(chain).reshape(len(chain), exits - 1)
    leaves = scores[images:, None, :-1] < limits
    taken = np.where(leaves.any(-1), leaves.argmax(-1), exits - 1).T  # [candidates, images]
    lost = losses[images:][np.arange(images), taken]

    def outcome(epsilon: float, confidence: float) -> tuple[float, float]:
        at = certify({risk: lost}, risk, epsilon, confidence).index
        return float((taken[at] < exits - 1).mean()), -float(costs[taken[at]].sum())

    lax = outcome(max(epsilons), min(sure))
    for strict in (
        outcome(min(epsilons), min(sure)),
        outcome(max(epsilons), max(sure)),
        outcome(min(epsilons), max(sure)),
    ):
        assert strict[0] <= lax[0]
        assert strict[1] <= lax[1] + 1e-9


@pytest.mark.parametrize("epsilon", [0.1, 0.5])
def test_no_image_is_expected_to_raise_the_wealth_where_the_mean_is_epsilon(epsilon: float) -> None:
    """What Ville's inequality needs, after any images before."""
    chances = {-1.0: 0.1, 0.0: 0.8 - epsilon, 1.0: 0.1 + epsilon}
    before = np.random.default_rng(0).choice(list(chances), 99, p=list(chances.values()))
    outcomes = np.stack([np.r_[before, loss] for loss in chances])
    factors = 1 + bets(outcomes)[:, -1] * (epsilon - outcomes[:, -1])
    assert 0 < bets(outcomes)[0, -1] < 0.5
    assert np.dot(list(chances.values()), factors) == pytest.approx(1, abs=1e-12)
