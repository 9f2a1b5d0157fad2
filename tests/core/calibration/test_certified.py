"""The promise, simulated: short; `python -m benchmarks.guarantee` is the long one."""

from functools import cache

import numpy as np
import pytest

from benchmarks.guarantee import AFTERWARDS, allowed, deployed, first_not_rejected, rows_of
from benchmarks.populations import (
    SIZE,
    Population,
    counts_of_draws,
    least_favourable,
    p_values_of_draws,
    scored,
    until_kept,
)
from erde_cli.core.calibration.guarantee import certify, last_rejected
from erde_cli.core.thresholds.target import Risk

RISKS: list[Risk] = ["disagreement", "accuracy-gap"]
DRAWS = 300

known = cache(scored)


def drawn(population: Population, images: int, seed: int) -> np.ndarray:
    """Losses of a half B, float64 [candidates, images]."""
    taken = np.random.default_rng(seed).integers(SIZE, size=images)
    return population.losses[:, taken].astype(np.float64)


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("well", [True, False], ids=["well", "badly"])
@pytest.mark.parametrize("images", [250, 1000])
def test_a_promise_is_broken_no_more_often_than_said(risk: Risk, well: bool, images: int) -> None:
    draws = DRAWS if risk == "disagreement" else DRAWS // 2
    rows = list(rows_of(known(risk, well=well), images, (0.02, 0.1), draws, seed=images))
    assert len(rows) == 6
    for row in rows:
        assert row.violations <= row.allowed, row
    assert rows[-1].realised > 0.3
    assert rows[0].realised >= rows[1].realised >= rows[2].realised  # surer, and saves less


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize(("epsilon", "images"), [(0.02, 1000), (0.05, 250), (0.1, 250)])
def test_the_least_favourable_chain_is_kept_and_finds_the_broken_rule(
    risk: Risk, epsilon: float, images: int
) -> None:
    population = least_favourable(risk, epsilon)
    assert population.risks[5] == pytest.approx(epsilon + 1 / SIZE)
    for row in rows_of(population, images, [epsilon], DRAWS, seed=1):
        assert row.violations <= row.allowed, row
        assert row.broken > row.allowed
        assert row.broken > 0.9
        if risk == "disagreement":  # and hardly anything is given away
            assert row.violations > (1 - row.confidence) / 4


@pytest.mark.parametrize("risk", RISKS)
def test_certify_itself_keeps_the_promise_and_its_bounds(risk: Risk) -> None:
    population = least_favourable(risk, 0.05, safe=2, risky=2)
    draws, violated, exceeded = 150, 0, 0
    for seed in range(draws):
        found = certify({risk: drawn(population, 300, seed)}, risk, 0.05, 0.8)
        violated += bool(population.risks[found.index] > 0.05)
        exceeded += bool((population.risks > found.bounds[risk]).any())
    assert 0 < violated <= allowed(draws, 0.8) * draws
    assert exceeded <= allowed(draws, 0.8) * draws


@pytest.mark.parametrize("risk", RISKS)
def test_the_simulation_deploys_what_certify_deploys(risk: Risk) -> None:
    population = known(risk, well=False)
    for seed in range(2):
        losses = drawn(population, 400, seed)
        index = certify({risk: losses}, risk, 0.05, 0.9).index
        assert last_rejected(until_kept(risk, losses[1:], 0.05, 0.1), 1 - 0.9) == index > 0
        if risk == "accuracy-gap":
            (found,) = p_values_of_draws(population, 400, [0.05], 1, 0.8, seed)
            assert deployed(found, 0.9).tolist() == [index]


def test_counts_are_drawn_as_images_are() -> None:
    population = known("disagreement", well=False)
    counts = counts_of_draws(population, 1000, 400, np.random.default_rng(0))
    tolerance = 4 * np.sqrt(population.risks * 1000 / 400) + 1e-9
    assert (np.abs(counts.mean(axis=0) - 1000 * population.risks[1:]) <= tolerance[1:]).all()
    spread = 1000 * population.risks * (1 - population.risks)
    np.testing.assert_allclose(counts.var(axis=0)[10:], spread[11:], rtol=0.35)
    images = np.stack([drawn(population, 1000, seed).sum(axis=1) for seed in range(200)])
    one, other = np.corrcoef(counts[:, [20, 30]].T)[0, 1], np.corrcoef(images[:, [21, 31]].T)[0, 1]
    assert one == pytest.approx(other, abs=0.1)  # drawn jointly: candidates share their images


def test_the_wrong_rule_is_one_further() -> None:
    for p_values in ([0.0, 0.3, 0.0], [0.3], [0.0, 0.0], []):
        at = last_rejected(np.array(p_values), 0.1)
        assert first_not_rejected(np.array(p_values), 0.1) == min(at + 1, len(p_values))


def test_an_epsilon_chosen_afterwards_breaks_the_promise_and_bounds_do_not() -> None:
    population = known("disagreement", well=False)
    images, draws, level = 1000, 300, 0.1
    p_values = p_values_of_draws(population, images, AFTERWARDS, draws, 0.8, 5)
    epsilons = np.array(AFTERWARDS)
    usual = np.array([population.saving[population.expected <= one].max() for one in epsilons])
    taken = np.stack([deployed(row, 1 - level) for row in p_values])  # [ε, draws]
    best = (population.saving[taken] - usual[:, None]).argmax(axis=0)
    broken = population.risks[taken[best, np.arange(draws)]] > epsilons[best]
    assert broken.mean() > allowed(draws, 1 - level)
    each = population.risks[taken] > epsilons[:, None]
    assert (each.mean(axis=1) <= allowed(draws, 1 - level)).all()  # each of them, named beforehand

    exceeded = []
    for seed in range(draws):
        losses = drawn(population, images, seed)
        bounds = certify({"disagreement": losses}, "disagreement", 0.05, 0.9).bounds["disagreement"]
        exceeded.append((population.risks > np.array(bounds)).any())
    assert np.mean(exceeded) <= allowed(draws, 1 - level)
