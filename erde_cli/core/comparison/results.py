"""The results of a comparison: each network, each student over seeds, paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from erde_cli.core.comparison.answers import NetworkAnswers
from erde_cli.core.comparison.curves import BUDGETS, DRAWS, one_threshold
from erde_cli.core.comparison.differences import Key, differences, one_threshold_differences
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
from erde_cli.core.comparison.students import differing_settings
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
class AllAnswers:
    """Answers of all networks by seed, and by seed and label.

    wrong_on_train: share of augmented train images that each paired exit of a teacher gets wrong,
    by seed.
    """

    teachers: dict[int, NetworkAnswers]
    students: dict[Key, NetworkAnswers]
    rivals: dict[Key, NetworkAnswers]
    wrong_on_train: dict[int, list[float] | None]
    failed: list[Failed]


def results(plan: Plan, found: AllAnswers) -> Results:
    """Compare the answers of all networks."""
    pairing = {student.name: student.recipe.pairing for student in plan.students}
    students = [
        _student(seed, label, answers, found.teachers.get(seed), pairing[label])
        for (seed, label), answers in found.students.items()
    ]
    first = next(iter(found.students.values()))
    paired = one_threshold_differences(plan, found.students)
    return Results(
        recipe=plan.recipe.name,
        seeds=list(plan.seeds),
        labels=[student.name for student in plan.students],
        settings=differing_settings(plan.recipe),
        shared_teacher=None if plan.teacher is None else str(plan.teacher.path),
        calibration_images=len(first.calibration),
        test_images=len(first.test),
        budgets=list(BUDGETS),
        draws=DRAWS,
        teachers=[_teacher(seed, answers, found) for seed, answers in found.teachers.items()],
        students=students,
        summary=[_summary(student.name, students) for student in plan.students],
        differences=differences(plan, found.students),
        one_threshold=OneThreshold(written(one_threshold(first.classes)), paired),
        static_rivals=rival_results(plan, found.students, found.rivals),
        failed=found.failed,
    )


def _teacher(seed: int, answers: NetworkAnswers, found: AllAnswers) -> TeacherResult:
    calibration, test = (
        (1 - images.correct.mean(axis=0)).tolist() for images in (answers.calibration, answers.test)
    )
    wrong = WrongShares(found.wrong_on_train.get(seed), calibration, test)
    accuracy = answers.test.full_accuracy
    return TeacherResult(seed, str(answers.bundle), accuracy, wrong, _network(answers))


def _student(
    seed: int,
    label: str,
    answers: NetworkAnswers,
    teacher: NetworkAnswers | None,
    pairing: Sequence[int],
) -> StudentResult:
    reached = gaps = None
    if teacher is not None:
        reached = savings(
            answers.calibration, answers.test, answers.thresholds,
            teacher.calibration.full_accuracy, (teacher.static_macs, answers.static_macs),
        )  # fmt: skip
        right = teacher.test.correct[:, list(pairing)]
        gaps = entropy_gaps(answers.test.scores, answers.test.correct, right)
    curve = answers.one_threshold
    sweep = Sweep(curve.auc, curve.cost.tolist(), curve.accuracy.tolist())
    return StudentResult(seed, label, str(answers.bundle), _network(answers), reached, gaps, sweep)


def _network(answers: NetworkAnswers) -> NetworkResult:
    """The curve of a network on test images, and its exits."""
    curve, costs = answers.curve, answers.test.cumulative_macs
    points = zip(answers.thresholds, curve.cost, curve.accuracy, strict=True)
    qualities = exit_qualities(answers.test, answers.ece.tolist(), answers.nll.tolist())
    exits = zip(qualities, costs, answers.static_macs_of_exits, strict=True)
    return NetworkResult(
        full_macs=answers.full_macs,
        static_macs=answers.static_macs,
        least_cost=float(costs[0] / costs[-1]),
        auc=curve.auc,
        at_budgets=curve.at(),
        points=[CurvePoint(written(vector), float(c), float(a)) for vector, c, a in points],
        exits=[ExitResult(quality, float(cost), static) for quality, cost, static in exits],
    )


def _summary(label: str, students: list[StudentResult]) -> Summary:
    """One student over its seeds."""
    seeds = [one for one in students if one.label == label]
    networks = [one.network for one in seeds]
    return Summary(
        label,
        len(seeds),
        _over_seeds(one.auc for one in networks),
        [_over_seeds(one.at_budgets[place] for one in networks) for place in range(len(BUDGETS))],
        _exits(networks),
        [saved(place, [one.savings for one in seeds]) for place in range(len(POINTS))],
        gapped([one.entropy_gaps for one in seeds]),
        _swept([one.one_threshold for one in seeds]),
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
    with_teacher = [gaps for gaps in found if gaps is not None]
    return [
        GapSummary(
            rows[0].exit, len(rows), *(_over_seeds(getattr(x, n) for x in rows) for n in _GAPS)
        )
        for rows in zip(*with_teacher, strict=True)
    ]


def _swept(sweeps: list[Sweep]) -> SweepSummary:
    """One θ for all exits: AUC, and cost and accuracy at each value."""
    cost, accuracy = (
        [_over_seeds(values) for values in zip(*columns, strict=True)]
        for columns in ([one.cost for one in sweeps], [one.accuracy for one in sweeps])
    )
    return SweepSummary(_over_seeds(one.auc for one in sweeps), cost, accuracy)


def saved(place: int, found: Sequence[Sequence[Saving] | None]) -> SavingSummary:
    """How many seeds reached a target; means only if all did, or they would favour the best."""
    seeds = [one[place] for one in found if one is not None]
    reached = sum(one.reached for one in seeds)
    means = (_over_seeds(getattr(one, name) for one in seeds) for name in _SAVED)
    return SavingSummary(POINTS[place], len(seeds), reached, *means)


def _over_seeds(values: Iterable[float | None]) -> Spread | None:
    """Mean, standard deviation (None for one seed) and range; None if any value is missing."""
    known = list(values)
    if not known or any(value is None for value in known):
        return None
    numbers = np.array(known, dtype=np.float64)
    sd = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
    return Spread(float(numbers.mean()), sd, float(numbers.min()), float(numbers.max()))
