"""A promise that holds: tests along a chain of thresholds, on images that chose nothing.

H_j: the risk of candidate j in the population is above ε. It is rejected while p ≤ 1 - confidence,
in the order of the chain and no further than the first that is not; the last rejected is deployed.
Each H_j is tested only where all before it were rejected, so that the chance of any false rejection
stays at 1 - confidence however long the chain is.

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

_MOST_BET = 0.5
_PRIOR = 0.25  # variance before any image was seen; the largest that a share can have
_BISECTIONS = 40
_SMALL = 1e-6
_MOST_WANTED = 10**9  # images; more is "no number would do"


@dataclass(frozen=True)
class Certified:
    """What was rejected along the chain; candidate 0 is "never early", which has no risk.

    index: the candidate to deploy, the last rejected; 0 where none was. p_values: of candidates
    1, 2, ... [candidates - 1]. observed: mean loss of every candidate. bounds: upper bounds of each
    risk for every candidate, valid for all of them together. images_wanted: an estimate of how many
    would do where none was rejected, None where no number would.
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
) -> Certified:
    """Test the candidates of a chain on half B, for one risk and one ε named beforehand.

    Args:
        losses: of each risk, float64 [candidates, images], images in their fixed random order;
            0 or 1 for disagreement, -1, 0 or 1 for the accuracy gap.
        risk: the one that is tested; bounds are given of all.
        epsilon: most that the risk may be.
        confidence: with which it is promised.
    """
    tested = losses[risk]
    images = tested.shape[1]
    p_values = np.array([p_value(risk, row, epsilon) for row in tested[1:]])
    index = last_rejected(p_values, 1 - confidence)
    level = (1 - confidence) / (max(len(p_values), 1) * len(losses))
    wanted = None
    if index == 0 and len(p_values):
        wanted = images_wanted(risk, tested[1], epsilon, confidence)
    return Certified(
        index,
        tuple(p_values.tolist()),
        tuple(tested.mean(axis=1).tolist()) if images else (0.0,) * len(tested),
        {name: upper_bounds(name, rows, level) for name, rows in losses.items()},
        images,
        least_images(epsilon, confidence) if risk == "disagreement" else None,
        wanted,
    )


def last_rejected(p_values: FloatArray, level: float) -> int:
    """Number of hypotheses rejected in order before the first that is not.

    Also the candidate to deploy: hypothesis j, from 0, is that of candidate j + 1.
    """
    kept = np.flatnonzero(~(p_values <= level))
    return int(kept[0]) if len(kept) else len(p_values)


def p_value(risk: Risk, losses: FloatArray, epsilon: float) -> float:
    """Of the hypothesis that the mean of the losses, [images], is above ε in the population."""
    if risk == "accuracy-gap":
        return float(accuracy_gap_p_values(losses[None], epsilon)[0])
    return disagreement_p_value(int(losses.sum()), len(losses), epsilon)


def disagreement_p_value(count: int, images: int, epsilon: float) -> float:
    """Exact: P(Bin(images, ε) ≤ count), `count` images being answered otherwise."""
    return float(binom.cdf(count, images, epsilon))


def accuracy_gap_p_values(losses: FloatArray, epsilon: float | FloatArray) -> FloatArray:
    """Betting: min(1, 1 / max_t Π_{i≤t} (1 + λ_i (ε - d_i))), [candidates].

    A player who bets λ_i, fixed before image i is seen, that d_i is below ε cannot expect to win
    while the mean of d is above ε: by Ville's inequality the wealth passes 1/p with probability p
    at most.

    Args:
        losses: d, float64 [candidates, images] in -1, 0 and 1.
        epsilon: one for all, or one for each candidate, [candidates].
    """
    return _betting(losses, bets(losses), epsilon)


def _betting(losses: FloatArray, placed: FloatArray, epsilon: float | FloatArray) -> FloatArray:
    """The same for bets, [candidates, images], that were placed before."""
    if losses.shape[1] == 0:
        return np.ones(len(losses))
    risk = np.broadcast_to(np.asarray(epsilon, dtype=np.float64), (len(losses),))[:, None]
    wealth = np.log1p(placed * (risk - losses)).cumsum(axis=1)
    best: FloatArray = np.exp(-np.maximum(wealth.max(axis=1), 0))
    return best


def bets(losses: FloatArray) -> FloatArray:
    """λ_i from 0 to ½, [candidates, images], from d_1 ... d_{i-1} only, not from ε or confidence.

    √(2 ln 10 / (n σ²_{i-1})), the best for a mean near ε and n images, σ² the running variance.
    """
    count = losses.shape[1]
    if count == 0:
        return np.zeros(losses.shape)
    seen = np.arange(1, count + 1)
    mean = losses.cumsum(axis=1) / (seen + 1)
    variance = (_PRIOR + ((losses - mean) ** 2).cumsum(axis=1)) / (seen + 1)
    before = np.concatenate([np.full((len(losses), 1), _PRIOR), variance[:, :-1]], axis=1)
    return _bet(count, before)


def _bet(images: int, variance: FloatArray) -> FloatArray:
    bet: FloatArray = np.minimum(_MOST_BET, np.sqrt(2 * math.log(10) / (images * variance)))
    return bet


def upper_bounds(risk: Risk, losses: FloatArray, level: float) -> tuple[float, ...]:
    """The least ε whose hypothesis is rejected at a level, for each candidate [candidates, images].

    Clopper and Pearson's for disagreement, bisection of the betting p-value for the accuracy gap;
    0 for candidate 0, "never early".
    """
    tested, images = losses[1:], losses.shape[1]
    if risk == "disagreement":
        counts = tested.sum(axis=1)
        found = np.where(counts < images, beta.ppf(1 - level, counts + 1, images - counts), 1.0)
    else:
        low, found, placed = np.full(len(tested), -1.0), np.ones(len(tested)), bets(tested)
        for _ in range(_BISECTIONS if images else 0):
            middle = (low + found) / 2
            rejected = _betting(tested, placed, middle) <= level
            low, found = np.where(rejected, low, middle), np.where(rejected, middle, found)
    return (0.0, *(float(bound) for bound in found))


def least_images(epsilon: float, confidence: float) -> int:
    """Images below which no disagreement risk can be promised, even if none disagrees."""
    # 1 - ε rounds to 1 for the smallest; log1p may be off by an image for the largest.
    each = math.log1p(-epsilon) if epsilon < _SMALL else math.log(1 - epsilon)
    return math.ceil(math.log(1 - confidence) / each)


def images_wanted(risk: Risk, losses: FloatArray, epsilon: float, confidence: float) -> int | None:
    """Estimate of how many images would do if the observed losses, [images], went on like this.

    More than there are: those did not do. None where the losses are too many for ε, so that no
    number would do.
    """
    count = len(losses)
    mean = float(losses.mean()) if count else epsilon
    if mean >= epsilon:
        return None
    variance = losses.var() + _PRIOR / count

    def enough(images: int) -> bool:
        if risk == "disagreement":
            p = disagreement_p_value(math.ceil(round(mean * images, 6)), images, epsilon)
            return p <= 1 - confidence
        bet = _bet(images, variance)  # as they are placed once the variance is known
        gained = images * float(np.log1p(bet * (epsilon - losses)).mean())
        return gained >= -math.log(1 - confidence)

    return _fewest(enough, count)


def _fewest(enough: Callable[[int], bool], low: int) -> int | None:
    """About the least number above `low` that is enough, by doubling and bisection."""
    high = 2 * low
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST_WANTED:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
