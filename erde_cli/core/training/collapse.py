"""Exits that have collapsed: one constant answer, or no better than chance."""

from __future__ import annotations

import math

from erde_cli.core.events import Observer
from erde_cli.core.inference.answers import Answers

_LEAST_PER_CLASS = 10  # calibration images per class from which a collapse can be told


def warn_of_collapsed(answers: Answers, classes: int, observer: Observer) -> list[int]:
    """Exits (from 0) that give one constant answer, or are right no more often than by chance."""
    images, exits = answers.correct.shape
    if images < _LEAST_PER_CLASS * classes:
        return []  # too few images to tell chance from a poor exit
    chance = 1 / classes
    limit = chance + 2 * math.sqrt(chance * (1 - chance) / images)
    collapsed = []
    for exit_ in range(exits):
        constant = len(set(answers.predictions[:, exit_].tolist())) == 1
        if constant or answers.accuracy[exit_] <= limit:
            what = "gives one constant answer" if constant else "is at chance level"
            observer.warning(
                f"Exit {exit_ + 1} of {exits} {what} on the calibration split "
                f"({100 * answers.accuracy[exit_]:.1f} % right). If this lasts, lower the learning "
                "rate or distillation.temperature, or set gradient_clipping."
            )
            collapsed.append(exit_)
    return collapsed
