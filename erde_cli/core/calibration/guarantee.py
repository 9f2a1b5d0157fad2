"""Guarantee a risk: test a chain of thresholds on images that chose nothing.

Hypothesis H_j: the risk of candidate j in the population is above ε. The hypotheses are tested in
the order of the chain, and rejected if p ≤ 1 - confidence, up to the first that is not rejected.
The candidate of the last rejected one is deployed. H_j is tested only if all before it were
rejected, so the probability of any false rejection is at most 1 - confidence for any chain length.

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
_PRIOR = 0.25  # variance before the first image; the largest that a share can have
_BISECTIONS = 40
_SMALL = 1e-6
_MOST_WANTED = 10**9  # images; more counts as "no number is enough"


@dataclass(frozen=True)
class Certified:
    """Tests of a chain; candidate 0 is "never early", which has no risk.

    index: candidate to deploy, the last rejected; 0 if none was. p_values: of candidates 1, 2, ...
    [candidates - 1]. observed: mean loss [candidates]. bounds: upper bounds of each risk
    [candidates], valid for all candidates together. images: in the test half. least_images: number
    below which nothing can be guaranteed; None: unknown. images_wanted: estimate of the number
    needed if nothing was rejected; None if no number is enough.
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
    """Test the candidates of a chain for one risk and one ε named beforehand.

    Args:
        losses: of each risk on the test half, float64 [candidates, images], images in their fixed
            random order; 0 or 1 for disagreement, -1, 0 or 1 for the accuracy gap.
        risk: the risk to test; the result has bounds of all of them.
        epsilon: largest risk allowed, a share of images.
        confidence: probability that the guarantee holds.
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
    """Number of hypotheses rejected in order before the first that is not rejected.

    This is also the candidate to deploy: p_values[j] belongs to candidate j + 1.
    """
    kept = np.flatnonzero(~(p_values <= level))
    return int(kept[0]) if len(kept) else len(p_values)


def p_value(risk: Risk, losses: FloatArray, epsilon: float) -> float:
    """p-value of "the mean loss in the population is above ε", from losses float64 [images]."""
    if risk == "accuracy-gap":
        return float(accuracy_gap_p_values(losses[None], epsilon)[0])
    return disagreement_p_value(int(losses.sum()), len(losses), epsilon)


def disagreement_p_value(count: int, images: int, epsilon: float) -> float:
    """Exact p-value P(Bin(images, ε) ≤ count), if `count` images disagree."""
    return float(binom.cdf(count, images, epsilon))


def accuracy_gap_p_values(losses: FloatArray, epsilon: float | FloatArray) -> FloatArray:
    """Betting p-values min(1, 1 / max_t Π_{i≤t} (1 + λ_i (ε - d_i))), float64 [candidates].

    A player bets λ_i that d_i is below ε, before seeing image i. If the mean of d is above ε, the
    player cannot expect to win: by Ville's inequality the wealth passes 1/p with probability at
    most p.

    Args:
        losses: d, float64 [candidates, images], each -1, 0 or 1.
        epsilon: one for all, or one for each candidate [candidates].
    """
    return _betting(losses, bets(losses), epsilon)


def _betting(losses: FloatArray, placed: FloatArray, epsilon: float | FloatArray) -> FloatArray:
    """The same for given bets, [candidates, images]."""
    if losses.shape[1] == 0:
        return np.ones(len(losses))
    risk = np.broadcast_to(np.asarray(epsilon, dtype=np.float64), (len(losses),))[:, None]
    wealth = np.log1p(placed * (risk - losses)).cumsum(axis=1)
    best: FloatArray = np.exp(-np.maximum(wealth.max(axis=1), 0))
    return best


def bets(losses: FloatArray) -> FloatArray:
    """Bets λ_i = √(2 ln 10 / (n σ²_{i-1})), at most ½, float64 [candidates, images].

    σ²_{i-1} is the running variance of d_1 ... d_{i-1}. The bets are best for a mean near ε and n
    images, and depend on neither ε nor the confidence.
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
    """The smallest ε that is rejected at a level, [candidates]; 0 for candidate 0, "never early".

    From losses [candidates, images]: Clopper-Pearson bounds for disagreement, bisection of the
    betting p-value for the accuracy gap.
    """
    tested, images = losses[1:], losses.shape[1]
    if risk == "disagreement":
        counts = tested.sum(axis=1)
        high = np.where(counts < images, beta.ppf(1 - level, counts + 1, images - counts), 1.0)
    else:
        low, high, placed = np.full(len(tested), -1.0), np.ones(len(tested)), bets(tested)
        for _ in range(_BISECTIONS if images else 0):
            middle = (low + high) / 2
            rejected = _betting(tested, placed, middle) <= level
            low, high = np.where(rejected, low, middle), np.where(rejected, middle, high)
    return (0.0, *high.tolist())


def least_images(epsilon: float, confidence: float) -> int:
    """Number of images below which no bound of disagreement holds, even if no image disagrees."""
    # 1 - ε rounds to 1 for a tiny ε; for a large ε, log1p can be off by an image.
    each = math.log1p(-epsilon) if epsilon < _SMALL else math.log(1 - epsilon)
    return math.ceil(math.log(1 - confidence) / each)


def images_wanted(risk: Risk, losses: FloatArray, epsilon: float, confidence: float) -> int | None:
    """Estimate of the number of images needed if later losses are like these, [images].

    The result is larger than the number of losses, which was not enough. None if the mean loss is
    ε or more, so that no number is enough.
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
        bet = _bet(images, variance)  # the bet once the variance is known
        gained = images * float(np.log1p(bet * (epsilon - losses)).mean())
        return gained >= -math.log(1 - confidence)

    return _fewest(enough, count)


def _fewest(enough: Callable[[int], bool], low: int) -> int | None:
    """About the smallest number above `low` that is enough, by doubling and bisection."""
    high = 2 * low
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST_WANTED:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
