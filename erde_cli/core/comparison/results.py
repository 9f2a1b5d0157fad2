"""What a comparison says: of each student, of each method over seeds, and of paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from erde_cli.core.comparison.answers import Seen
from erde_cli.core.comparison.curves import BUDGETS, DRAWS, one_threshold
from erde_cli.core.comparison.differences import Key, differences, of_one_threshold
from erde_cli.core.comparison.exit_quality import POINTS, exit_qualities, savings
from erde_cli.core.comparison.plan import Plan
from erde_cli.core.comparison.rivals import rivals_document
from erde_cli.core.inference.entropy_gap import entropy_gaps
from erde_cli.core.storage.json_files import Json
from erde_cli.core.thresholds import write_threshold

_QUALITIES = ("accuracy", "auroc_error", "auroc_repairable", "accuracy_certain", "ece", "nll")
_GAPS = ("wrong", "right", "gap", "share_wrong", "accuracy_wrong", "accuracy_right")


@dataclass(frozen=True)
class Failed:
    """A network that is missing, and why."""

    seed: int
    method: str
    reason: str


@dataclass(frozen=True)
class Found:
    """What networks said of the images. wrong_on_train: of teachers, by seed, per paired exit."""

    teachers: dict[int, Seen]
    students: dict[Key, Seen]
    rivals: dict[Key, Seen]
    wrong_on_train: dict[int, list[float] | None]
    failed: list[Failed]


def results(plan: Plan, found: Found) -> Json:
    """The object of `results.json`."""
    pairing = {arm.label: arm.recipe.pairing for arm in plan.arms}
    students = [
        _student(seed, label, seen, found.teachers.get(seed), pairing[label])
        for (seed, label), seen in found.students.items()
    ]
    first = next(iter(found.students.values()))
    paired = differences(plan, found.students)
    return {
        "recipe": plan.recipe.name,
        "seeds": list(plan.seeds),
        "methods": [arm.label for arm in plan.arms],
        "own": {method: list(settings) for method, settings in plan.own.items() if settings},
        "shared_teacher": None if plan.teacher is None else str(plan.teacher.path),
        "calibration_images": len(first.calibration),
        "test_images": len(first.test),
        "budgets": list(BUDGETS),
        "draws": DRAWS,
        "teachers": [_teacher(seed, seen, found) for seed, seen in found.teachers.items()],
        "students": students,
        "summary": [_summary(arm.label, students) for arm in plan.arms],
        "primary": next((one for one in paired if one["primary"]), None),
        "differences": paired,
        "one_threshold": {
            "thresholds": _written(one_threshold(first.classes)),
            "differences": of_one_threshold(plan, found.students),
        },
        "static_rivals": rivals_document(plan, found.students, found.rivals),
        "failed": [asdict(one) for one in found.failed],
    }


def _teacher(seed: int, seen: Seen, found: Found) -> Json:
    wrong = {"train": found.wrong_on_train.get(seed)}
    for split, images in (("calibration", seen.calibration), ("test", seen.test)):
        wrong[split] = (1 - images.correct.mean(axis=0)).tolist()
    return {
        "seed": seed, "bundle": str(seen.bundle), "accuracy": seen.test.full_accuracy,
        "wrong": wrong, **_network(seen),
    }  # fmt: skip


def _student(
    seed: int, label: str, seen: Seen, teacher: Seen | None, pairing: Sequence[int]
) -> Json:
    reached = gaps = None
    sweep = seen.one_threshold
    if teacher is not None:
        found = savings(
            seen.calibration, seen.test, seen.thresholds,
            teacher.calibration.full_accuracy, (teacher.static_macs, seen.static_macs),
        )  # fmt: skip
        reached = [{**asdict(one), "thresholds": _written(one.thresholds)} for one in found]
        gaps = [
            one.to_json()
            for one in entropy_gaps(
                seen.test.scores, seen.test.correct, teacher.test.correct[:, list(pairing)]
            )
        ]
    return {
        "seed": seed, "method": label, "bundle": str(seen.bundle), **_network(seen),
        "savings": reached, "entropy_gaps": gaps,
        "one_threshold": {
            "auc": sweep.auc, "cost": sweep.cost.tolist(), "accuracy": sweep.accuracy.tolist(),
        },
    }  # fmt: skip


def _network(seen: Seen) -> Json:
    """The curve of a network on test images, and its exits."""
    curve = seen.curve
    points = zip(seen.thresholds, curve.cost, curve.accuracy, strict=True)
    costs = seen.test.cumulative_macs
    qualities = exit_qualities(seen.test, seen.ece.tolist(), seen.nll.tolist())
    return {
        "full_macs": seen.full_macs,
        "static_macs": seen.static_macs,
        "least_cost": float(costs[0] / costs[-1]),
        "auc": curve.auc,
        "at_budgets": curve.at(),
        "points": [
            {"thresholds": _written(vector), "cost": float(cost), "accuracy": float(accuracy)}
            for vector, cost, accuracy in points
        ],
        "exits": [
            {**asdict(one), "cumulative_macs": float(cost), "static_macs": static}
            for one, cost, static in zip(qualities, costs, seen.static_macs_of_exits, strict=True)
        ],
    }


def _written(thresholds: Sequence[float] | None) -> list[float | str] | None:
    return None if thresholds is None else [write_threshold(value) for value in thresholds]


def _summary(label: str, students: list[Json]) -> Json:
    """Mean and standard deviation over the seeds of one kind of student."""
    mine = [one for one in students if one["method"] == label]
    exits = range(len(mine[0]["exits"]) if mine else 0)
    return {
        "method": label,
        "seeds": len(mine),
        "auc": _over_seeds(one["auc"] for one in mine),
        "at_budgets": [
            _over_seeds(one["at_budgets"][place] for one in mine) for place in range(len(BUDGETS))
        ],
        "exits": [
            {"exit": e, **{n: _over_seeds(one["exits"][e][n] for one in mine) for n in _QUALITIES}}
            for e in exits
        ],
        "savings": [saved(place, mine) for place in range(len(POINTS))],
        "entropy_gaps": gapped(mine),
        "one_threshold": _swept([one["one_threshold"] for one in mine]),
    }


def gapped(mine: list[Json]) -> list[Json]:
    """Entropy gaps of each early exit, over the seeds that have a teacher."""
    asked = [one["entropy_gaps"] for one in mine if one["entropy_gaps"] is not None]
    return [
        {
            "exit": rows[0]["exit"], "seeds": len(rows),
            **{name: _over_seeds(row[name] for row in rows) for name in _GAPS},
        }
        for rows in zip(*asked, strict=True)
    ]  # fmt: skip


def _swept(sweeps: list[Json]) -> Json:
    """One θ for all exits: its AUC, and what each value of it gives."""
    over = {
        name: [_over_seeds(values) for values in zip(*(s[name] for s in sweeps), strict=True)]
        for name in ("cost", "accuracy")
    }
    return {"auc": _over_seeds(one["auc"] for one in sweeps), **over}


def saved(place: int, mine: list[Json]) -> Json:
    """How many seeds reached it; means only where all did, since those that did are a choice."""
    asked = [one["savings"][place] for one in mine if one["savings"] is not None]
    reached = sum(one["reached"] for one in asked)
    names = ("accuracy", "expected_macs", "macs_ratio", "size_ratio", "exit_ratio")
    means = {name: _over_seeds(one[name] for one in asked) for name in names}
    return {"points": POINTS[place], "seeds": len(asked), "reached": reached, **means}


def _over_seeds(values: Iterable[float | None]) -> Json | None:
    """Mean, standard deviation (null of one seed) and range; null where any is missing."""
    known = list(values)
    if not known or any(value is None for value in known):
        return None
    numbers = np.array(known, dtype=np.float64)
    sd = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
    return {
        "mean": float(numbers.mean()), "sd": sd,
        "low": float(numbers.min()), "high": float(numbers.max()),
    }  # fmt: skip
