"""Paired differences between methods in their mean accuracy over budgets, and their verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from erde_cli.core.arrays import FloatArray
from erde_cli.core.comparison.answers import Seen
from erde_cli.core.comparison.curves import BUDGETS, resampled
from erde_cli.core.comparison.paired import Difference, corrected, difference, simultaneous, verdict
from erde_cli.core.comparison.plan import Plan
from erde_cli.core.storage.json_files import Json

PLANNED = ("erde", "kd")  # the pair that is corrected for nothing
AUC, ONE_THRESHOLD = "auc", "auc_one_threshold"  # measures
Key = tuple[int, str]  # seed, label


def differences(plan: Plan, students: Mapping[Key, Seen]) -> list[Json]:
    """Differences a − b with a threshold for each exit, the primary one first."""
    keys = list(students)
    drawn = dict(zip(keys, resampled([students[key].curve for key in keys]), strict=True))
    values = {key: students[key].curve.auc for key in keys}
    documents = _paired(plan, AUC, values, {key: drawn[key][:, 0] for key in keys})
    for one in documents:
        one["at_budgets"] = [
            _at_budget(place, one["a"], one["b"], one["seeds"], students, drawn)
            for place in range(len(BUDGETS))
        ]
    return documents


def of_one_threshold(plan: Plan, students: Mapping[Key, Seen]) -> list[Json]:
    """Differences a − b with one θ for all exits, as a family of their own; erde − kd first."""
    values, drawn = {}, {}
    for key, seen in students.items():
        curve = seen.one_threshold
        values[key], drawn[key] = curve.auc, resampled([curve], budgets=())[0, :, 0]
    return _paired(plan, ONE_THRESHOLD, values, drawn)


def _paired(
    plan: Plan, measure: str, values: Mapping[Key, float], drawn: Mapping[Key, FloatArray]
) -> list[Json]:
    """Paired differences a − b; all but the planned one are corrected for their number."""
    pairs = []
    for a, b in plan.pairs:
        seeds = [s for s in plan.seeds if (s, a) in drawn and (s, b) in drawn]
        if seeds:
            pairs.append((a, b, seeds, _difference(a, b, seeds, values, drawn)))
    others = sum((a, b) != PLANNED and found.interval is not None for a, b, _, found in pairs)
    return [
        {
            "a": a, "b": b, "measure": measure,
            "primary": (a, b) == PLANNED and measure == AUC, "seeds": seeds,
            "conditional_on_teacher": plan.teacher is not None,
            **asdict(found), **decided(found, None if (a, b) == PLANNED else others),
        }
        for a, b, seeds, found in pairs
    ]  # fmt: skip


def decided(found: Difference, others: int | None) -> Json:
    """Verdict on a difference, by its own interval or by one of `others` that hold together.

    The planned difference (None) is corrected for nothing, and corrects nothing.
    """
    if others is None:
        together, p_value = None, None
    else:
        together, p_value = simultaneous(found, others), corrected(found.p_value, others)
    return {
        "interval_corrected": together,
        "p_corrected": p_value,
        "verdict": verdict(found.interval if others is None else together),
    }


def _difference(
    a: str, b: str, seeds: list[int], values: Mapping[Key, float], drawn: Mapping[Key, FloatArray]
) -> Difference:
    """Difference a − b of values; drawn: the same on resampled images, [draws] each."""
    of_seeds = [values[seed, a] - values[seed, b] for seed in seeds]
    return difference(of_seeds, np.stack([drawn[seed, a] - drawn[seed, b] for seed in seeds]))


def _at_budget(
    place: int, a: str, b: str, seeds: list[int],
    students: Mapping[Key, Seen], drawn: Mapping[Key, FloatArray],
) -> Json:  # fmt: skip
    """Descriptive: no verdict, no correction; null where a budget is not reachable."""
    budget = BUDGETS[place]
    values = {}
    for key in ((seed, label) for seed in seeds for label in (a, b)):
        accuracy = students[key].curve.at()[place]
        if accuracy is None:
            return {"budget": budget, "mean": None, "interval": None}
        values[key] = accuracy
    there = {key: drawn[key][:, place + 1] for key in values}
    found = _difference(a, b, seeds, values, there)
    return {"budget": budget, "mean": found.mean, "interval": found.interval}
