"""Learning rate as a pure function of the step, so that there is no scheduler state to save."""

from __future__ import annotations

import math

from erde_cli.core.recipe.sections.training import Training

_ONE_CYCLE_START = 0.04  # initial learning rate, as a share of the largest


def learning_rate(settings: Training, step: int, steps_per_epoch: int) -> float:
    """Learning rate of a step, counted from 0 over the whole training.

    cosine: linear from 0 over the warm-up, then half a cosine down to 0. one_cycle: linear from
    1/25 of the largest rate over the warm-up, then linear down to 0. step: warm-up as in cosine,
    then constant, multiplied by `decay` at every milestone.

    Source: cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, arXiv 1608.03983, equation 5, without
    restarts; one_cycle: Smith and Topin, "Super-convergence", arXiv 1708.07120, with constant
    momentum; step: He et al., "Deep residual learning for image recognition", CVPR 2016, section
    4.2; warm-up: Goyal et al., "Accurate, large minibatch SGD", arXiv 1706.02677, section 2.2.
    """
    total = settings.epochs * steps_per_epoch
    warmup = settings.warmup * steps_per_epoch
    if step < warmup:
        rising = (step + 1) / (warmup + 1)
        start = _ONE_CYCLE_START if settings.schedule == "one_cycle" else 0.0
        return settings.learning_rate * (start + (1 - start) * rising)
    if settings.schedule == "step":
        passed = sum(step >= round(milestone * total) for milestone in settings.milestone_shares)
        return settings.learning_rate * settings.decay_factor**passed
    left = 1 - (step - warmup) / (total - warmup)
    if settings.schedule == "one_cycle":
        return settings.learning_rate * left
    return settings.learning_rate * 0.5 * (1 - math.cos(math.pi * left))
