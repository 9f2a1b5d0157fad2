"""Guarantee a bound on a risk: test a chain of thresholds on images that did not choose them.

Hypothesis H_j: the risk of candidate j in the population is above ε. The hypotheses are tested in
the order of the chain, and rejected if p ≤ 1 - confidence. Testing stops at the first that is not
rejected. The candidate of the last rejected hypothesis is deployed. H_j is tested only if all
before it were rejected, so the probability of any false rejection is at most 1 - confidence for any
chain length.

Source: Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then test: calibrating predictive
algorithms to achieve risk control", 2021 (fixed-sequence testing); Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, binom

from erde_cli.core.arrays import FloatArray
from erde_cli.core.thresholds.target import Risk

_LARGEST_BET = 0.5  # so that 1 + λ (ε - d) is at least ½ for ε ≥ 0
_PRIOR_VARIANCE = 0.25  # before the first image, as in Waudby-Smith and Ramdas
_BISECTIONS = 40
_TINY_EPSILON = 1e-6
_SEARCH_LIMIT = 10**9  # images; if more are needed, the answer is None


@dataclass(frozen=True)
class ChainTest:
    """Result of testing a chain. Candidate 0 never exits early and has a risk of 0.

    index: candidate to deploy, that of the last rejected hypothesis; 0 if none was rejected.
    p_values: of candidates 1, 2, ... [candidates - 1]. observed: mean loss of the tested risk
    [candidates]. bounds: upper bounds of each risk [candidates]; at the confidence, all of them
    hold together. images: number in the test half. least_images: fewest images that can guarantee a
    disagreement of at most ε; None for the accuracy gap. images_wanted: estimate of the number
    needed; None if a hypothesis was rejected, or if no number is enough.
    """

    index: int
    p_values: tuple[float, ...]
    observed: tuple[float, ...]
    bounds: dict[Risk, tuple[float, ...]]
    images: int
    least_images: int | None
    images_wanted: int | None


def certify(
    losses: Mapping[Risk, FloatArray], risk: Risk, epsilon: float, confidence: float
) -> ChainTest:
    """Test the candidates of a chain for one risk and one ε that were fixed beforehand.

    Args:
        losses: of each risk on the test half, float64 [candidates, images], images in their fixed
            random order; 0 or 1 for disagreement, -1, 0 or 1 for the accuracy gap.
        risk: the risk to test. The result has bounds of every risk in `losses`.
        epsilon: largest risk allowed, a share of images.
        confidence: probability that the guarantee holds.
    """
    tested = losses[risk]
    p_values = np.array([p_value(risk, row, epsilon) for row in tested[1:]])
    index = last_rejected(p_values, 1 - confidence)
    # Bonferroni: the bounds of all candidates and risks hold together.
    level = (1 - confidence) / (max(len(p_values), 1) * len(losses))
    return ChainTest(
        index=index,
        p_values=tuple(p_values.tolist()),
        observed=tuple(tested.mean(axis=1).tolist()),
        bounds={name: upper_bounds(name, rows, level) for name, rows in losses.items()},
        images=tested.shape[1],
        least_images=least_images(epsilon, confidence) if risk == "disagreement" else None,
        images_wanted=images_wanted(risk, tested[1], epsilon, confidence)
        if index == 0 and len(p_values)
        else None,
    )


def last_rejected(p_values: FloatArray, level: float) -> int:
    """Number of hypotheses rejected in order before the first that is not rejected.

    This is also the candidate to deploy: p_values[j] belongs to candidate j + 1.
    """
    accepted = np.flatnonzero(~(p_values <= level))  # NaN is not rejected
    return int(accepted[0]) if len(accepted) else len(p_values)


def p_value(risk: Risk, losses: FloatArray, epsilon: float) -> float:
    """p-value of "the mean loss in the population is above ε", from losses float64 [images]."""
    if risk == "accuracy-gap":
        return float(accuracy_gap_p_values(losses[None], epsilon)[0])
    return disagreement_p_value(int(losses.sum()), len(losses), epsilon)


def disagreement_p_value(count: int, images: int, epsilon: float) -> float:
    """Exact p-value P(Bin(images, ε) ≤ count), if `count` images disagree, 0 to `images`."""
    return float(binom.cdf(count, images, epsilon))


def accuracy_gap_p_values(
    losses: FloatArray, epsilon: float | FloatArray, placed: FloatArray | None = None
) -> FloatArray:
    """Betting p-value of each candidate, float64 [candidates].

    p = min(1, 1 / max_t Π_{i≤t} (1 + λ_i (ε - d_i))), with the losses d_i and their bets λ_i.
    Before seeing image i, a player stakes the share λ_i of the wealth on d_i being below ε. If the
    mean of d is above ε, the player cannot expect to win: by Ville's inequality, the wealth ever
    reaches 1/p with probability at most p.

    Args:
        losses: d, float64 [candidates, images], each -1, 0 or 1.
        epsilon: largest risk allowed, one number or float64 [candidates].
        placed: result of `bets(losses)`; None: it is computed.
    """
    placed = bets(losses) if placed is None else placed
    limit = np.broadcast_to(np.asarray(epsilon, dtype=np.float64), (len(losses),))[:, None]
    log_wealth = np.log1p(placed * (limit - losses)).cumsum(axis=1)
    p_values: FloatArray = np.exp(-np.maximum(log_wealth.max(axis=1), 0))
    return p_values


def bets(losses: FloatArray) -> FloatArray:
    """Bets λ_i = √(2 ln 10 / (n σ²_{i-1})), at most ½, float64 [candidates, images].

    σ²_{i-1} is the running variance of d_1 ... d_{i-1}, n the number of images. The bets are best
    for a confidence of 0.9, as ln 10 = ln(1 / 0.1), and a mean near ε. They use neither the
    confidence nor ε, so one set of bets serves every ε.
    """
    images = losses.shape[1]
    counts = np.arange(1, images + 1)
    mean = losses.cumsum(axis=1) / (counts + 1)
    variance = (_PRIOR_VARIANCE + ((losses - mean) ** 2).cumsum(axis=1)) / (counts + 1)
    prior = np.full((len(losses), 1), _PRIOR_VARIANCE)
    return _bet(images, np.concatenate([prior, variance[:, :-1]], axis=1))


def _bet(images: int, variance: FloatArray) -> FloatArray:
    bet: FloatArray = np.minimum(_LARGEST_BET, np.sqrt(2 * math.log(10) / (images * variance)))
    return bet


def upper_bounds(risk: Risk, losses: FloatArray, level: float) -> tuple[float, ...]:
    """Upper bound of each candidate's risk, [candidates]; 0 for candidate 0, "never early".

    It is the smallest ε at which the hypothesis "the risk is above ε" is rejected: Clopper-Pearson
    bounds for disagreement, bisection of the betting p-value for the accuracy gap.

    Args:
        risk: the risk whose losses these are.
        losses: float64 [candidates, images].
        level: largest p-value that is rejected.
    """
    tested, images = losses[1:], losses.shape[1]
    if risk == "disagreement":
        counts = tested.sum(axis=1)
        high = np.where(counts < images, beta.ppf(1 - level, counts + 1, images - counts), 1.0)
    else:
        low, high, placed = np.full(len(tested), -1.0), np.ones(len(tested)), bets(tested)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            rejected = accuracy_gap_p_values(tested, middle, placed) <= level
            low, high = np.where(rejected, low, middle), np.where(rejected, middle, high)
    return (0.0, *high.tolist())


def least_images(epsilon: float, confidence: float) -> int:
    """Fewest images that guarantee a disagreement of at most ε if no image disagrees.

    Args:
        epsilon: largest risk allowed, above 0 and below 1.
        confidence: probability that the guarantee holds, above 0 and below 1.
    """
    # log1p for a tiny ε, where 1 - ε rounds to 1. Elsewhere log1p can be off by one image.
    log_agreement = math.log1p(-epsilon) if epsilon < _TINY_EPSILON else math.log(1 - epsilon)
    return math.ceil(math.log(1 - confidence) / log_agreement)


def images_wanted(risk: Risk, losses: FloatArray, epsilon: float, confidence: float) -> int | None:
    """Estimate of the number of images needed, if new ones have losses like these, [images].

    The result is above the number of these images, as that many were not enough. None if the mean
    loss is ε or more, so that no number is enough.
    """
    count = len(losses)
    mean = float(losses.mean())
    if mean >= epsilon:
        return None
    variance = losses.var() + _PRIOR_VARIANCE / count

    def enough(images: int) -> bool:
        if risk == "disagreement":
            # Without round, ceil makes 8 of 0.07 * 100 = 7.000000000000001.
            p = disagreement_p_value(math.ceil(round(mean * images, 6)), images, epsilon)
            return p <= 1 - confidence
        bet = _bet(images, variance)  # the bet as if the variance were known from the start
        gained = images * float(np.log1p(bet * (epsilon - losses)).mean())
        return gained >= -math.log(1 - confidence)

    return _fewest(enough, count)


def _fewest(enough: Callable[[int], bool], low: int) -> int | None:
    """A number above `low` that is enough, usually the smallest; by doubling and bisection."""
    high = 2 * low
    while not enough(high):
        low, high = high, 2 * high
        if high > _SEARCH_LIMIT:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
