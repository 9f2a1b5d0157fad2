"""Learning rate as a pure function of the step: there is no scheduler state to lose."""

from __future__ import annotations

import math

from erde_cli.core.recipe.sections.training import Training

_ONE_CYCLE_START = 0.04  # share of the largest learning rate that the first steps rise from


def learning_rate(settings: Training, step: int, steps_per_epoch: int) -> float:
    """Learning rate of a step, counted from 0 over the whole training.

    cosine: rises from 0 over the warm-up, then half a cosine down to 0. one_cycle: rises from
    1/25 of the largest rate over the warm-up, then falls in a straight line to 0. step: rises like
    cosine, then stays, but for a factor at every milestone that has been passed.
    """
    total = settings.epochs * steps_per_epoch
    warmup = settings.warmup * steps_per_epoch
    if step < warmup:
        rising = (step + 1) / (warmup + 1)
        start = _ONE_CYCLE_START if settings.schedule == "one_cycle" else 0.0
        return settings.learning_rate * (start + (1 - start) * rising)
    if settings.schedule == "step":
        passed = sum(step >= round(milestone * total) for milestone in settings.falls)
        return settings.learning_rate * settings.fall**passed
    left = 1 - (step - warmup) / (total - warmup)
    if settings.schedule == "one_cycle":
        return settings.learning_rate * left
    return settings.learning_rate * 0.5 * (1 - math.cos(math.pi * left))
