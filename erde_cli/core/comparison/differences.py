"""Paired differences between methods in their mean accuracy over budgets, and their verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from erde_cli.core.arrays import FloatArray
from erde_cli.core.comparison.answers import Seen
from erde_cli.core.comparison.curves import BUDGETS, Curve, resampled
from erde_cli.core.comparison.document import AtBudget, Decision, Measure, PairedDifference
from erde_cli.core.comparison.paired import Difference, corrected, difference, simultaneous, verdict
from erde_cli.core.comparison.plan import Plan

PLANNED = ("erde", "kd")  # the pair that is corrected for nothing
Key = tuple[int, str]  # seed, label


def differences(plan: Plan, students: Mapping[Key, Seen]) -> list[PairedDifference]:
    """Differences a − b with a threshold for each exit, the primary one first."""
    curves = {key: seen.curve for key, seen in students.items()}
    drawn = dict(zip(curves, resampled(list(curves.values())), strict=True))
    values = {key: curve.auc for key, curve in curves.items()}
    found = _paired(plan, "auc", values, {key: draws[:, 0] for key, draws in drawn.items()})
    places = range(len(BUDGETS))
    return [
        replace(one, at_budgets=[_at_budget(place, one, curves, drawn) for place in places])
        for one in found
    ]


def of_one_threshold(plan: Plan, students: Mapping[Key, Seen]) -> list[PairedDifference]:
    """Differences a − b with one θ for all exits, as a family of their own; erde − kd first."""
    values, drawn = {}, {}
    for key, seen in students.items():
        curve = seen.one_threshold
        values[key], drawn[key] = curve.auc, resampled([curve], budgets=())[0, :, 0]
    return _paired(plan, "auc_one_threshold", values, drawn)


def _paired(
    plan: Plan, measure: Measure, values: Mapping[Key, float], drawn: Mapping[Key, FloatArray]
) -> list[PairedDifference]:
    """Paired differences a − b; all but the planned one are corrected for their number."""
    pairs = []
    for a, b in plan.pairs:
        seeds = [s for s in plan.seeds if (s, a) in drawn and (s, b) in drawn]
        if seeds:
            pairs.append((a, b, seeds, _difference(a, b, seeds, values, drawn)))
    others = sum((a, b) != PLANNED and found.interval is not None for a, b, _, found in pairs)
    return [
        PairedDifference(
            a,
            b,
            measure,
            primary=(a, b) == PLANNED and measure == "auc",
            seeds=seeds,
            conditional_on_teacher=plan.teacher is not None,
            found=found,
            decision=decided(found, None if (a, b) == PLANNED else others),
        )
        for a, b, seeds, found in pairs
    ]


def decided(found: Difference, others: int | None) -> Decision:
    """Verdict on a difference, by its own interval or by one of `others` that hold together.

    The planned difference (None) is corrected for nothing, and corrects nothing.
    """
    if others is None:
        together, p_value = None, None
    else:
        together, p_value = simultaneous(found, others), corrected(found.p_value, others)
    return Decision(together, p_value, verdict(found.interval if others is None else together))


def _difference(
    a: str, b: str, seeds: list[int], values: Mapping[Key, float], drawn: Mapping[Key, FloatArray]
) -> Difference:
    """Difference a − b of values; drawn: the same on resampled images, [draws] each."""
    of_seeds = [values[seed, a] - values[seed, b] for seed in seeds]
    return difference(of_seeds, np.stack([drawn[seed, a] - drawn[seed, b] for seed in seeds]))


def _at_budget(
    place: int,
    pair: PairedDifference,
    curves: Mapping[Key, Curve],
    drawn: Mapping[Key, FloatArray],
) -> AtBudget:
    """Descriptive: no verdict, no correction; None where a budget is not reachable."""
    budget = BUDGETS[place]
    values = {}
    for key in ((seed, label) for seed in pair.seeds for label in (pair.a, pair.b)):
        accuracy = curves[key].at()[place]
        if accuracy is None:
            return AtBudget(budget, None, None)
        values[key] = accuracy
    there = {key: drawn[key][:, place + 1] for key in values}
    found = _difference(pair.a, pair.b, pair.seeds, values, there)
    return AtBudget(budget, found.mean, found.interval)
