"""Warnings about collapsed exits, which give one constant answer or are no better than chance."""

from __future__ import annotations

import math

from erde_cli.core.events import Observer
from erde_cli.core.figures import percent
from erde_cli.core.inference.answers import Answers

_LEAST_PER_CLASS = 10  # calibration images per class needed to tell chance from a poor exit


def warn_of_collapsed(answers: Answers, classes: int, observer: Observer) -> list[int]:
    """Warn of collapsed exits, and return their numbers from 0.

    An exit is at chance level if its accuracy is within two standard errors of 1 / classes.
    """
    images, exits = answers.correct.shape
    if images < _LEAST_PER_CLASS * classes:
        return []
    chance = 1 / classes
    limit = chance + 2 * math.sqrt(chance * (1 - chance) / images)
    collapsed = []
    for exit_ in range(exits):
        constant = len(set(answers.predictions[:, exit_].tolist())) == 1
        if constant or answers.accuracy[exit_] <= limit:
            what = "gives one constant answer" if constant else "is at chance level"
            right = percent(answers.accuracy[exit_], 1)
            observer.warning(
                f"Exit {exit_ + 1} of {exits} {what} on the calibration split "
                f"({right} % right). If this continues, lower the learning rate or "
                "distillation.temperature, or set gradient_clipping."
            )
            collapsed.append(exit_)
    return collapsed
