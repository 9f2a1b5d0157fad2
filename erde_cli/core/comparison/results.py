"""What a comparison says: of each student, of each method over seeds, and of paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from erde_cli.core.comparison.answers import Seen
from erde_cli.core.comparison.curves import BUDGETS, DRAWS, one_threshold
from erde_cli.core.comparison.differences import Key, differences, of_one_threshold
from erde_cli.core.comparison.document import (
    CurvePoint,
    ExitResult,
    Failed,
    NetworkResult,
    OneThreshold,
    Results,
    StudentResult,
    Sweep,
    TeacherResult,
    WrongShares,
    written,
)
from erde_cli.core.comparison.exit_quality import POINTS, Saving, exit_qualities, savings
from erde_cli.core.comparison.plan import Plan
from erde_cli.core.comparison.rivals import rival_results
from erde_cli.core.comparison.summary import (
    ExitSummary,
    GapSummary,
    SavingSummary,
    Spread,
    Summary,
    SweepSummary,
)
from erde_cli.core.inference.entropy_gap import EntropyGap, entropy_gaps

_QUALITIES = ("accuracy", "auroc_error", "auroc_repairable", "accuracy_certain", "ece", "nll")
_GAPS = ("wrong", "right", "gap", "share_wrong", "accuracy_wrong", "accuracy_right")
_SAVED = ("accuracy", "expected_macs", "macs_ratio", "size_ratio", "exit_ratio")


@dataclass(frozen=True)
class Found:
    """What networks said of the images. wrong_on_train: of teachers, by seed, per paired exit."""

    teachers: dict[int, Seen]
    students: dict[Key, Seen]
    rivals: dict[Key, Seen]
    wrong_on_train: dict[int, list[float] | None]
    failed: list[Failed]


def results(plan: Plan, found: Found) -> Results:
    """Compare what the networks said."""
    pairing = {arm.label: arm.recipe.pairing for arm in plan.arms}
    students = [
        _student(seed, label, seen, found.teachers.get(seed), pairing[label])
        for (seed, label), seen in found.students.items()
    ]
    first = next(iter(found.students.values()))
    of_one = of_one_threshold(plan, found.students)
    return Results(
        recipe=plan.recipe.name,
        seeds=list(plan.seeds),
        labels=[arm.label for arm in plan.arms],
        own={method: list(settings) for method, settings in plan.own.items() if settings},
        shared_teacher=None if plan.teacher is None else str(plan.teacher.path),
        calibration_images=len(first.calibration),
        test_images=len(first.test),
        budgets=list(BUDGETS),
        draws=DRAWS,
        teachers=[_teacher(seed, seen, found) for seed, seen in found.teachers.items()],
        students=students,
        summary=[_summary(arm.label, students) for arm in plan.arms],
        differences=differences(plan, found.students),
        one_threshold=OneThreshold(written(one_threshold(first.classes)), of_one),
        static_rivals=rival_results(plan, found.students, found.rivals),
        failed=found.failed,
    )


def _teacher(seed: int, seen: Seen, found: Found) -> TeacherResult:
    calibration, test = (
        (1 - images.correct.mean(axis=0)).tolist() for images in (seen.calibration, seen.test)
    )
    wrong = WrongShares(found.wrong_on_train.get(seed), calibration, test)
    return TeacherResult(seed, str(seen.bundle), seen.test.full_accuracy, wrong, _network(seen))


def _student(
    seed: int, label: str, seen: Seen, teacher: Seen | None, pairing: Sequence[int]
) -> StudentResult:
    reached = gaps = None
    if teacher is not None:
        reached = savings(
            seen.calibration, seen.test, seen.thresholds,
            teacher.calibration.full_accuracy, (teacher.static_macs, seen.static_macs),
        )  # fmt: skip
        right = teacher.test.correct[:, list(pairing)]
        gaps = entropy_gaps(seen.test.scores, seen.test.correct, right)
    swept = seen.one_threshold
    sweep = Sweep(swept.auc, swept.cost.tolist(), swept.accuracy.tolist())
    return StudentResult(seed, label, str(seen.bundle), _network(seen), reached, gaps, sweep)


def _network(seen: Seen) -> NetworkResult:
    """The curve of a network on test images, and its exits."""
    curve, costs = seen.curve, seen.test.cumulative_macs
    points = zip(seen.thresholds, curve.cost, curve.accuracy, strict=True)
    qualities = exit_qualities(seen.test, seen.ece.tolist(), seen.nll.tolist())
    exits = zip(qualities, costs, seen.static_macs_of_exits, strict=True)
    return NetworkResult(
        full_macs=seen.full_macs,
        static_macs=seen.static_macs,
        least_cost=float(costs[0] / costs[-1]),
        auc=curve.auc,
        at_budgets=curve.at(),
        points=[CurvePoint(written(vector), float(c), float(a)) for vector, c, a in points],
        exits=[ExitResult(quality, float(cost), static) for quality, cost, static in exits],
    )


def _summary(label: str, students: list[StudentResult]) -> Summary:
    """One kind of student over its seeds."""
    mine = [one for one in students if one.label == label]
    networks = [one.network for one in mine]
    return Summary(
        label,
        len(mine),
        _over_seeds(one.auc for one in networks),
        [_over_seeds(one.at_budgets[place] for one in networks) for place in range(len(BUDGETS))],
        _exits(networks),
        [saved(place, [one.savings for one in mine]) for place in range(len(POINTS))],
        gapped([one.entropy_gaps for one in mine]),
        _swept([one.one_threshold for one in mine]),
    )


def _exits(networks: list[NetworkResult]) -> list[ExitSummary]:
    """Each exit over the seeds."""
    of_exits = zip(*(one.exits for one in networks), strict=True)
    return [
        ExitSummary(e, *(_over_seeds(getattr(x.quality, n) for x in exits) for n in _QUALITIES))
        for e, exits in enumerate(of_exits)
    ]


def gapped(found: Sequence[Sequence[EntropyGap] | None]) -> list[GapSummary]:
    """Entropy gaps of each early exit, over the seeds that have a teacher."""
    asked = [gaps for gaps in found if gaps is not None]
    return [
        GapSummary(
            rows[0].exit, len(rows), *(_over_seeds(getattr(x, n) for x in rows) for n in _GAPS)
        )
        for rows in zip(*asked, strict=True)
    ]


def _swept(sweeps: list[Sweep]) -> SweepSummary:
    """One θ for all exits: its AUC, and what each value of it gives."""
    cost, accuracy = (
        [_over_seeds(values) for values in zip(*columns, strict=True)]
        for columns in ([one.cost for one in sweeps], [one.accuracy for one in sweeps])
    )
    return SweepSummary(_over_seeds(one.auc for one in sweeps), cost, accuracy)


def saved(place: int, found: Sequence[Sequence[Saving] | None]) -> SavingSummary:
    """How many seeds reached it; means only where all did, since those that did are a choice."""
    asked = [one[place] for one in found if one is not None]
    reached = sum(one.reached for one in asked)
    means = (_over_seeds(getattr(one, name) for one in asked) for name in _SAVED)
    return SavingSummary(POINTS[place], len(asked), reached, *means)


def _over_seeds(values: Iterable[float | None]) -> Spread | None:
    """Mean, standard deviation (None of one seed) and range; None where any is missing."""
    known = list(values)
    if not known or any(value is None for value in known):
        return None
    numbers = np.array(known, dtype=np.float64)
    sd = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
    return Spread(float(numbers.mean()), sd, float(numbers.min()), float(numbers.max()))
