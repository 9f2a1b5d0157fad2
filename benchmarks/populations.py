"""Populations with known risks, and draws of test halves from them.

A population is finite and large, and the test half is drawn from it with replacement. The true risk
of a candidate is therefore the mean over all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.calibration.chain import build_chain
from erde_cli.core.calibration.guarantee import accuracy_gap_p_values, disagreement_p_value, p_value
from erde_cli.core.inference.observations import Observations
from erde_cli.core.thresholds.target import Risk

SIZE = 20_000  # images of a population
_HALF_A = 2_000  # images that build the chain
_COSTS = np.array([1.0, 2.0, 3.0, 4.0])
_EASE = np.array([2.5, 3.5, 4.5])  # -log odds of disagreement of each early exit on a usual image
_BLOCK = 6  # candidates tested together


@dataclass(frozen=True)
class Population:
    """The candidates of a chain on all images of a population.

    losses: -1, 0 or 1, int8 [candidates, images]. saving: share of the cost, [candidates].
    expected: risk on the tuning half, which built the chain, [candidates].
    """

    name: str
    risk: Risk
    losses: NDArray[np.int8]
    saving: FloatArray
    expected: FloatArray

    @property
    def risks(self) -> FloatArray:
        """True risk of every candidate."""
        risks: FloatArray = self.losses.mean(axis=1)
        return risks

    def possible(self, epsilon: float) -> float:
        """The largest saving of a candidate whose true risk is at most ε; 0 or more."""
        return float(self.saving[self.risks <= epsilon].max())


def scored(risk: Risk, *, well: bool, seed: int = 0) -> Population:
    """Four exits under a chain that 2,000 other images build.

    A well calibrated score is a function of the true probability of disagreement. A badly
    calibrated one is blurred, and the early exits take every twentieth image for an easy one by
    mistake: the risk is then far above 0 at the cautious end, and can fall along the chain.
    """
    generator = np.random.default_rng(seed)
    count = SIZE + _HALF_A
    hard = 2 * generator.normal(size=(count, 1))
    odds = hard - _EASE
    deceived = np.zeros((count, 1), dtype=bool) if well else generator.random((count, 1)) < 0.05
    disagrees = generator.random(odds.shape) < np.where(deceived, 0.3, 1 / (1 + np.exp(-odds)))
    # If both differ, the last exit is right on easier images, the early one on some others.
    last_right = generator.random((count, 1)) < 1 / (1 + np.exp(hard - 2))
    early_right = ~last_right & (generator.random(odds.shape) < 0.4)
    gap = disagrees * (last_right.astype(np.float64) - early_right)
    blur = 0 if well else 1.5 * generator.normal(size=odds.shape)
    scores = 1 / (1 + np.exp(-np.where(deceived, -6, odds) - blur))
    losses = np.zeros((count, 4))
    losses[:, :3] = gap if risk == "accuracy-gap" else disagrees
    scores = np.concatenate([scores, scores[:, :1]], axis=1)
    chain = build_chain(scores[SIZE:], losses[SIZE:], _COSTS)
    observed = Observations(scores, np.ones((count, 4), dtype=bool), _COSTS)
    exits = np.stack([observed.exits(thresholds) for thresholds in chain])
    lost = losses.astype(np.int8)[np.arange(count), exits]
    saving = 1 - _COSTS[exits[:, :SIZE]].mean(axis=1) / _COSTS[-1]
    name = f"{'well' if well else 'badly'} calibrated"
    return Population(name, risk, lost[:, :SIZE], saving, lost[:, SIZE:].mean(axis=1))


def least_favourable(risk: Risk, epsilon: float, *, safe: int = 4, risky: int = 3) -> Population:
    """Candidates without any loss, then one whose risk is one image above ε, then worse ones.

    Only the test of the first risky candidate can stop the sequence, so no chain is violated more
    often. For the accuracy gap, 2 % of the images are won back.
    """
    above = int(np.floor(epsilon * SIZE + 1e-9)) + 1
    losses = np.zeros((1 + safe + risky, SIZE), dtype=np.int8)
    won = SIZE // 50 if risk == "accuracy-gap" else 0
    for place in range(risky):
        row = losses[1 + safe + place]
        row[: above + won + place * SIZE // 20] = 1
        row[SIZE - won :] = -1
    saving = np.linspace(0, 0.7, len(losses))
    return Population("least favourable", risk, losses, saving, losses.mean(axis=1))


def p_values_of_draws(
    population: Population, images: int, epsilons: Sequence[float], draws: int, least: float,
    seed: int,
) -> FloatArray:  # fmt: skip
    """p-values of candidates 1, 2, ... on many test halves, [ε, draws, candidates - 1].

    p-values after the first that is above 1 - `least` (the lowest confidence) can be left at 1: no
    test reads them.
    """
    generator = np.random.default_rng(seed)
    if population.risk == "disagreement":
        return _by_counts(population, images, epsilons, draws, generator)
    p_values = np.ones((len(epsilons), draws, len(population.losses) - 1))
    for draw in range(draws):
        taken = generator.integers(SIZE, size=images)
        rows = population.losses[1:, taken].astype(np.float64)
        for at, epsilon in enumerate(epsilons):
            p_values[at, draw] = until_kept(population.risk, rows, epsilon, 1 - least)
    return p_values


def until_kept(risk: Risk, rows: FloatArray, epsilon: float, level: float) -> FloatArray:
    """p-values of candidates 1, 2, ..., at least up to the first that is not rejected; then 1."""
    p_values = np.ones(len(rows))
    for start, end in pairwise([*range(0, len(rows), _BLOCK), len(rows)]):
        block = rows[start:end]
        if risk == "accuracy-gap":
            p_values[start:end] = accuracy_gap_p_values(block, epsilon)
        else:
            p_values[start:end] = [p_value(risk, row, epsilon) for row in block]
        if (p_values[start:end] > level).any():
            break
    return p_values


def counts_of_draws(
    population: Population, images: int, draws: int, generator: np.random.Generator
) -> IntArray:
    """Sum of the losses of candidates 1, 2, ... on many test halves, [draws, candidates - 1].

    A draw is a count of each pattern of losses: the order of the images does not matter.
    """
    patterns, times = np.unique(population.losses[1:].T, axis=0, return_counts=True)
    drawn = generator.multinomial(images, times / times.sum(), size=draws)
    counts: IntArray = (drawn @ patterns.astype(np.float64)).round().astype(np.int64)
    return counts


def _by_counts(
    population: Population, images: int, epsilons: Sequence[float], draws: int,
    generator: np.random.Generator,
) -> FloatArray:  # fmt: skip
    counts, where = np.unique(
        counts_of_draws(population, images, draws, generator), return_inverse=True
    )
    return np.stack(
        [
            np.array([disagreement_p_value(int(count), images, epsilon) for count in counts])[
                where.reshape(draws, -1)
            ]
            for epsilon in epsilons
        ]
    )
