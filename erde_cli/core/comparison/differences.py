"""Paired differences between students in mean accuracy over budgets, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from erde_cli.core.arrays import FloatArray
from erde_cli.core.comparison.answers import NetworkAnswers
from erde_cli.core.comparison.curves import BUDGETS, Curve, resampled
from erde_cli.core.comparison.document import AtBudget, Decision, Measure, PairedDifference
from erde_cli.core.comparison.paired import Difference, corrected, difference, simultaneous, verdict
from erde_cli.core.comparison.plan import Plan

PLANNED = ("erde", "kd")  # fixed beforehand, so not corrected for the number of differences
Key = tuple[int, str]  # seed, label


def differences(plan: Plan, students: Mapping[Key, NetworkAnswers]) -> list[PairedDifference]:
    """Differences a − b with a threshold for each exit, the primary one first."""
    curves = {key: answers.curve for key, answers in students.items()}
    drawn = dict(zip(curves, resampled(list(curves.values())), strict=True))
    values = {key: curve.auc for key, curve in curves.items()}
    pairs = _paired(plan, "auc", values, {key: draws[:, 0] for key, draws in drawn.items()})
    places = range(len(BUDGETS))
    return [
        replace(pair, at_budgets=[_at_budget(place, pair, curves, drawn) for place in places])
        for pair in pairs
    ]


def one_threshold_differences(
    plan: Plan, students: Mapping[Key, NetworkAnswers]
) -> list[PairedDifference]:
    """Differences a − b with one θ for all exits, as a second family; erde − kd first."""
    values, drawn = {}, {}
    for key, answers in students.items():
        curve = answers.one_threshold
        values[key], drawn[key] = curve.auc, resampled([curve], budgets=())[0, :, 0]
    return _paired(plan, "auc_one_threshold", values, drawn)


def _paired(
    plan: Plan, measure: Measure, values: Mapping[Key, float], drawn: Mapping[Key, FloatArray]
) -> list[PairedDifference]:
    """Paired differences a − b; all except the planned one are corrected for their number."""
    pairs = []
    for a, b in plan.pairs:
        seeds = [s for s in plan.seeds if (s, a) in drawn and (s, b) in drawn]
        if seeds:
            pairs.append((a, b, seeds, _difference(a, b, seeds, values, drawn)))
    others = sum((a, b) != PLANNED and paired.interval is not None for a, b, _, paired in pairs)
    return [
        PairedDifference(
            a,
            b,
            measure,
            primary=(a, b) == PLANNED and measure == "auc",
            seeds=seeds,
            conditional_on_teacher=plan.teacher is not None,
            found=paired,
            decision=decided(paired, None if (a, b) == PLANNED else others),
        )
        for a, b, seeds, paired in pairs
    ]


def decided(found: Difference, others: int | None) -> Decision:
    """Verdict on a difference.

    Args:
        found: the difference.
        others: how many differences share the simultaneous intervals, this one included; None
            for the planned difference, which has its own interval.
    """
    if others is None:
        together, p_value = None, None
    else:
        together, p_value = simultaneous(found, others), corrected(found.p_value, others)
    return Decision(together, p_value, verdict(found.interval if others is None else together))


def _difference(
    a: str, b: str, seeds: list[int], values: Mapping[Key, float], drawn: Mapping[Key, FloatArray]
) -> Difference:
    """Difference a − b of `values`; `drawn` are the values on resampled images, [draws] each."""
    of_seeds = [values[seed, a] - values[seed, b] for seed in seeds]
    return difference(of_seeds, np.stack([drawn[seed, a] - drawn[seed, b] for seed in seeds]))


def _at_budget(
    place: int,
    pair: PairedDifference,
    curves: Mapping[Key, Curve],
    drawn: Mapping[Key, FloatArray],
) -> AtBudget:
    """Difference at one budget, without verdict or correction."""
    budget = BUDGETS[place]
    values = {}
    for key in ((seed, label) for seed in pair.seeds for label in (pair.a, pair.b)):
        accuracy = curves[key].at()[place]
        if accuracy is None:
            return AtBudget(budget, None, None)
        values[key] = accuracy
    draws = {key: drawn[key][:, place + 1] for key in values}
    paired = _difference(pair.a, pair.b, pair.seeds, values, draws)
    return AtBudget(budget, paired.mean, paired.interval)
