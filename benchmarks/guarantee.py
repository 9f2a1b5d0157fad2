"""Simulate how often a guarantee of `--max-risk` is broken, on populations with known risks.

python -m benchmarks.guarantee [--draws 1000] [--full] [--json]

Each draw is a new test half for one chain. A guarantee is broken if the true risk of the deployed
candidate is above ε. A row passes if that happens no more often than the 99.9 % quantile of a
binomial at rate 1 - confidence. The exit code is 1 if a row does not pass, or if a rule that is
known to be wrong does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binom

from benchmarks.guarantee_tables import condensed, in_full, print_summaries
from benchmarks.measure import print_results, progress
from benchmarks.populations import (
    SIZE,
    Population,
    least_favourable,
    p_values_of_draws,
    scored,
    until_kept,
)
from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.calibration.guarantee import certify, last_rejected
from erde_cli.core.thresholds.target import Risk

RISKS: list[Risk] = ["disagreement", "accuracy-gap"]
EPSILONS = (0.01, 0.02, 0.05, 0.1)
CONFIDENCES = (0.8, 0.9, 0.95)
IMAGES = (250, 1000, 5000)
AFTERWARDS = tuple(np.geomspace(0.01, 0.1, 20).tolist())

Deploy = Callable[[FloatArray, float], int]


@dataclass(frozen=True)
class Row:
    """One guarantee on many draws of the test half; all figures are shares, except `images`.

    realised: mean of the saving over the largest saving of a candidate within ε, at most 1.
    broken: violations if the first candidate that is not rejected were deployed.
    """

    population: str
    risk: Risk
    images: int
    epsilon: float
    confidence: float
    violations: float
    allowed: float
    realised: float
    broken: float

    @property
    def passes(self) -> bool:
        """Whether chance explains the violations."""
        return self.violations <= self.allowed

    @property
    def broken_is_found(self) -> bool:
        """Whether the wrong rule fails; required on the least favourable chain alone."""
        decides = self.population == "least favourable" and self.realised > 0
        return self.broken > self.allowed or not decides


def allowed(draws: int, confidence: float) -> float:
    """Share of violations that chance explains, at a probability of 1 - confidence."""
    return float(binom.ppf(0.999, draws, 1 - confidence)) / draws


def first_not_rejected(p_values: FloatArray, level: float) -> int:
    """The wrong rule: deploy one candidate further."""
    return min(last_rejected(p_values, level) + 1, len(p_values))


def deployed(p_values: FloatArray, confidence: float, rule: Deploy = last_rejected) -> IntArray:
    """Candidate deployed on each draw, int64 [draws], from p-values [draws, candidates - 1]."""
    return np.array([rule(row, 1 - confidence) for row in p_values], dtype=np.int64)


def rows_of(
    population: Population, images: int, epsilons: Sequence[float], draws: int, seed: int
) -> Iterator[Row]:
    """Rows of each ε and confidence, on the same draws of the test half."""
    least = min(CONFIDENCES)
    found = p_values_of_draws(population, images, epsilons, draws, least, seed)
    for epsilon, p_values in zip(epsilons, found, strict=True):
        risky = population.risks > epsilon
        possible = population.possible(epsilon)
        for confidence in CONFIDENCES:
            taken = deployed(p_values, confidence)
            saved = np.minimum(population.saving[taken] / possible, 1) if possible else 0.0
            wrong = deployed(p_values, confidence, first_not_rejected)
            yield Row(
                population.name, population.risk, images, epsilon, confidence,
                float(risky[taken].mean()), allowed(draws, confidence), float(np.mean(saved)),
                float(risky[wrong].mean()),
            )  # fmt: skip


def all_rows(draws: int) -> Iterator[Row]:
    """Rows of each population, risk and size of the test half."""
    for risk in RISKS:
        for well in (True, False):
            population = scored(risk, well=well)
            for images in IMAGES:
                progress(f"{population.name}, {risk}, {images} images")
                yield from rows_of(population, images, EPSILONS, draws, images)
        for epsilon in EPSILONS:
            progress(f"least favourable, {risk}, {epsilon:g}")
            for images in IMAGES:
                chain = least_favourable(risk, epsilon)
                yield from rows_of(chain, images, [epsilon], draws, images)


def afterwards(
    population: Population, draws: int, images: int = 1000, confidence: float = 0.9
) -> dict[str, Any]:
    """Share of draws on which an ε chosen from 20 after seeing the test half is exceeded.

    The ε with the largest saving over the expectation of the tuning half is chosen: once by tests
    for one ε named beforehand, and once by bounds that hold for all candidates together.
    """
    levels = np.array(AFTERWARDS)
    within = [population.expected <= level for level in levels]
    usual = np.array([population.saving[row].max() for row in within])
    generator = np.random.default_rng(images)
    exceeded: dict[str, list[bool]] = {"tests": [], "bounds": []}
    for draw in range(draws):
        progress(f"ε chosen afterwards, {population.risk}: draw {draw + 1} of {draws}")
        losses = population.losses[:, generator.integers(SIZE, size=images)].astype(np.float64)
        tested = [
            until_kept(population.risk, losses[1:], level, 1 - confidence) for level in levels
        ]
        certified = [last_rejected(p_values, 1 - confidence) for p_values in tested]
        tests = certify({population.risk: losses}, population.risk, 0.05, confidence)
        bounds = np.array(tests.bounds[population.risk])
        bounded = [int(np.flatnonzero(bounds <= level)[-1]) for level in levels]
        for name, taken in (("tests", certified), ("bounds", bounded)):
            chosen = int((population.saving[taken] - usual).argmax())
            exceeded[name].append(bool(population.risks[taken[chosen]] > levels[chosen]))
    return {
        "population": population.name, "risk": population.risk, "images": images,
        "confidence": confidence, "allowed": allowed(draws, confidence),
        **{name: float(np.mean(flags)) for name, flags in exceeded.items()},
    }  # fmt: skip


def faults(rows: Sequence[Row], chosen: Sequence[dict[str, Any]]) -> list[str]:
    """Failures in words; empty if there are none."""
    found = [f"violated: {row}" for row in rows if not row.passes]
    found += [f"the broken rule passes: {row}" for row in rows if not row.broken_is_found]
    found += [f"bounds violated: {one}" for one in chosen if one["bounds"] > one["allowed"]]
    if not any(one["tests"] > one["allowed"] for one in chosen):
        found.append("an ε chosen afterwards from 20 is never detected")
    return found


def main() -> None:
    """Simulate, print the tables, and check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--draws", type=int, default=1000, help="test halves drawn (default: %(default)s)"
    )
    parser.add_argument("--full", action="store_true", help="print every row")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    rows = list(all_rows(given.draws))
    chosen = [afterwards(scored(risk, well=False), given.draws) for risk in RISKS]
    wrong = faults(rows, chosen)
    document = {"rows": [asdict(row) for row in rows], "afterwards": chosen, "faults": wrong}
    columns = ["population", "risk", "test half", *(f"ε = {100 * one:g} %" for one in EPSILONS)]
    body = condensed(rows, 0.9)
    if given.full:
        columns = ["population", "risk", "test half", "ε, %", "confidence", "violations, %",
                   "allowed, %", "realised, %", "wrong rule, %"]  # fmt: skip
        body = in_full(rows)
    title = f"Violations / realised saving in %, {given.draws:,} draws"
    print_results(title, columns, body, given.json, document)
    if not given.json:
        print()
        print_summaries(rows, chosen)
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
