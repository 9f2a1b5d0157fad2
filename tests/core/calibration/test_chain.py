"""The chain of candidates: cautious first, ever bolder, the same for every promise."""

import inspect
import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from erde_cli.core.calibration.chain import LONGEST, build_chain
from erde_cli.core.inference.observations import Observations

Array = NDArray[np.float64]


def images(
    seed: int, count: int, exits: int, *, step: float = 0, gap: bool = False
) -> tuple[Array, Array, Array]:
    """Scores, losses and costs; scores that are low where the loss is, more often than not."""
    generator = np.random.default_rng(seed)
    hard = generator.normal(size=(count, 1)) - 0.5 * np.arange(exits)
    losses = (hard + generator.normal(size=(count, exits)) > 1).astype(np.float64)
    if gap:
        losses -= generator.random((count, exits)) < 0.05
    losses[:, -1] = 0
    scores = np.exp(hard + 0.5 * generator.normal(size=(count, exits)))
    if step:
        scores = np.round(scores / step) * step
    return scores, losses, np.cumsum(generator.uniform(1, 3, exits))


def cost_of(scores: Array, costs: Array, thresholds: tuple[float, ...]) -> float:
    observations = Observations(scores, np.ones(scores.shape, bool), costs)
    return float(costs[observations.exits(thresholds)].mean())


def risk_of(scores: Array, losses: Array, thresholds: tuple[float, ...]) -> float:
    observations = Observations(scores, np.ones(scores.shape, bool), np.ones(scores.shape[1]))
    exits = observations.exits(thresholds)
    return float(losses[np.arange(len(losses)), exits].mean())


@pytest.mark.parametrize("exits", [2, 3, 4, 8])
@pytest.mark.parametrize("gap", [False, True], ids=["disagreement", "accuracy-gap"])
@pytest.mark.parametrize("step", [0, 0.5])
def test_it_rises_from_never_to_all_that_can_be_saved(exits: int, gap: bool, step: float) -> None:
    scores, losses, costs = images(exits, 700, exits, step=step, gap=gap)
    chain = build_chain(scores, losses, costs)
    assert 2 <= len(chain) <= LONGEST == 50
    assert chain[0] == (0.0,) * (exits - 1)
    assert all(len(thresholds) == exits - 1 for thresholds in chain)
    for before, after in pairwise(chain):
        assert all(a <= b for a, b in zip(before, after, strict=True))
        assert before != after
    spent = [cost_of(scores, costs, thresholds) for thresholds in chain]
    assert all(after < before for before, after in pairwise(spent))
    assert spent[0] == pytest.approx(costs[-1])
    assert spent[-1] == pytest.approx(costs[0])
    assert chain[-1][0] == math.inf


def test_no_image_leaves_later_as_the_chain_rises() -> None:
    scores, losses, costs = images(1, 500, 4)
    fresh = images(2, 500, 4)[0]
    observed = Observations(fresh, np.ones(fresh.shape, bool), costs)
    exits = [observed.exits(thresholds) for thresholds in build_chain(scores, losses, costs)]
    for before, after in pairwise(exits):
        assert (after <= before).all()


def test_it_ends_where_nothing_more_is_saved() -> None:
    scores, losses, _ = images(0, 300, 3)
    costs = np.array([3.0, 3.0, 6.0])
    last = build_chain(scores, losses, costs)[-1]
    assert cost_of(scores, costs, last) == 3
    assert math.inf in last
    assert build_chain(scores, losses, np.array([6.0, 6.0, 6.0])) == [(0.0, 0.0)]


def test_it_takes_the_exit_that_adds_the_least_risk_first() -> None:
    generator = np.random.default_rng(0)
    scores = generator.random((400, 3))
    losses = np.zeros((400, 3))
    losses[:, 0] = 1
    chain = build_chain(scores, losses, np.array([1.0, 2.0, 3.0]))
    safe = [thresholds for thresholds in chain if thresholds[0] == 0]
    assert max(second for _, second in safe) > 0.9  # the rest is thinned out


def test_it_knows_neither_the_promise_nor_the_order_of_the_images() -> None:
    assert list(inspect.signature(build_chain).parameters) == ["scores", "losses", "costs"]
    for seed in range(3):
        scores, losses, costs = images(seed, 401, 4, step=0.1 * seed, gap=True)
        order = np.random.default_rng(seed).permutation(401)
        again = build_chain(scores[order], losses[order], costs)
        assert again == build_chain(scores, losses, costs)


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_one_exit_and_few_images(count: int) -> None:
    scores, losses, costs = images(0, count, 1)
    assert build_chain(scores, losses, costs) == [()]
    chain = build_chain(*images(0, count, 2))
    assert chain[0] == (0.0,)
    assert len(chain) == 1 if count == 0 else chain[-1] == (math.inf,)


def test_constant_scores_leave_together_or_not_at_all() -> None:
    scores = np.full((50, 3), 0.7)
    losses = np.zeros((50, 3))
    chain = build_chain(scores, losses, np.array([1.0, 2.0, 3.0]))
    assert set(np.ravel(chain)) == {0.0, math.inf}
    assert chain[0] == (0.0, 0.0)
    assert cost_of(scores, np.array([1.0, 2.0, 3.0]), chain[-1]) == 1


def test_the_last_score_is_not_used() -> None:
    scores, losses, costs = images(0, 200, 3)
    other = scores.copy()
    other[:, -1] = np.nan
    assert build_chain(other, losses, costs) == build_chain(scores, losses, costs)


@pytest.mark.parametrize("score", [0.0, 0.7])
def test_equal_scores_leave_only_never_and_always(score: float) -> None:
    """Also where the score is 0, as "never" is: the rule is strict."""
    chain = build_chain(np.full((30, 2), score), np.zeros((30, 2)), np.array([1.0, 2.0]))
    assert chain == [(0.0,), (math.inf,)]


@pytest.mark.parametrize("seed", range(4))
def test_no_other_vector_of_little_risk_is_much_better_at_its_cost(seed: int) -> None:
    scores, losses, costs = images(seed, 2000, 4)
    chain = build_chain(scores, losses, costs)
    risks = [risk_of(scores, losses, vector) for vector in chain]
    spent = [cost_of(scores, costs, vector) for vector in chain]
    spacing = (spent[0] - spent[-1]) / (LONGEST - 1)
    generator = np.random.default_rng(0)
    for _ in range(200):
        vector = tuple(np.quantile(scores[:, i], generator.random() / 2) for i in range(3))
        risk, cost = risk_of(scores, losses, vector), cost_of(scores, costs, vector)
        near = [r for r, c in zip(risks, spent, strict=True) if c <= cost + spacing]
        assert min(near) <= risk + 0.005 or risk > 0.1
