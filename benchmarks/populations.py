"""Populations whose risks are known, and the draws of half B that test them.

A population is finite and large, and half B is drawn from it with replacement: the true risk of a
candidate is then the plain mean over all of its images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.arrays import FloatArray
from erde_cli.core.calibration.chain import build_chain
from erde_cli.core.calibration.guarantee import accuracy_gap_p_values, disagreement_p_value, p_value
from erde_cli.core.inference.observations import Observations
from erde_cli.core.thresholds.target import Risk

SIZE = 20_000  # images of a population
_HALF_A = 2_000  # images that build the chain
_COSTS = np.array([1.0, 2.0, 3.0, 4.0])
_EASE = np.array([2.5, 3.5, 4.5])  # of the early exits; -log odds of disagreement on a usual image
_BLOCK = 6  # candidates tested together


@dataclass(frozen=True)
class Population:
    """The candidates of a chain on every image of a population.

    losses: -1, 0 or 1, int8 [candidates, images]. saving: share of the cost, [candidates].
    expected: risk on half A, which built the chain, [candidates].
    """

    name: str
    risk: Risk
    losses: NDArray[np.int8]
    saving: FloatArray
    expected: FloatArray

    @property
    def risks(self) -> FloatArray:
        """True risk of every candidate."""
        found: FloatArray = self.losses.mean(axis=1)
        return found

    def possible(self, epsilon: float) -> float:
        """The largest saving of a candidate whose true risk is at most ε; above 0, or 0."""
        return float(self.saving[self.risks <= epsilon].max())


def scored(risk: Risk, *, well: bool, seed: int = 0) -> Population:
    """Three early exits before a last one, under the chain that 2,000 other images build.

    Well calibrated, a score is a function of the true chance to disagree. Badly, it is blurred,
    and every twentieth image is taken for an easy one, by the early exits, that is none: the risk
    is then far from 0 at the cautious end, and need not rise along the chain.
    """
    generator = np.random.default_rng(seed)
    count = SIZE + _HALF_A
    hard = 2 * generator.normal(size=(count, 1))
    odds = hard - _EASE
    deceived = np.zeros((count, 1), dtype=bool) if well else generator.random((count, 1)) < 0.05
    disagrees = generator.random(odds.shape) < np.where(deceived, 0.3, 1 / (1 + np.exp(-odds)))
    # Where both differ, the last exit is right on the easier images, the early one on some others.
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

    Nothing on the way can stop the sequence but the test of the first risky candidate: no chain is
    violated more often. For the accuracy gap 2 % of the images are won back.
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
    """The package's p-values of candidates 1, 2, ... on many halves B, [ε, draws, candidates - 1].

    Those behind the first that is not rejected even at level 1 - `least` (the lowest confidence)
    may be left at 1: no test reads them.
    """
    generator = np.random.default_rng(seed)
    if population.risk == "disagreement":
        return _by_counts(population, images, epsilons, draws, generator)
    found = np.ones((len(epsilons), draws, len(population.losses) - 1))
    for draw in range(draws):
        taken = generator.integers(SIZE, size=images)
        rows = population.losses[1:, taken].astype(np.float64)
        for at, epsilon in enumerate(epsilons):
            found[at, draw] = until_kept(population.risk, rows, epsilon, 1 - least)
    return found


def until_kept(risk: Risk, rows: FloatArray, epsilon: float, level: float) -> FloatArray:
    """P-values of candidates 1, 2, ..., at least up to the first that is not rejected; then 1."""
    found = np.ones(len(rows))
    for start, end in pairwise([*range(0, len(rows), _BLOCK), len(rows)]):
        block = rows[start:end]
        if risk == "accuracy-gap":
            found[start:end] = accuracy_gap_p_values(block, epsilon)
        else:
            found[start:end] = [p_value(risk, row, epsilon) for row in block]
        if (found[start:end] > level).any():
            break
    return found


def counts_of_draws(
    population: Population, images: int, draws: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Sum of the losses of candidates 1, 2, ... on many halves B, [draws, candidates - 1].

    A half is drawn as how often each pattern of losses occurs in it; its order does not matter.
    """
    patterns, times = np.unique(population.losses[1:].T, axis=0, return_counts=True)
    drawn = generator.multinomial(images, times / times.sum(), size=draws)
    counts: NDArray[np.int64] = (drawn @ patterns.astype(np.float64)).round().astype(np.int64)
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
