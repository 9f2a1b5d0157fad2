"""The report of a comparison, from its results and the logs of its first seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from erde_cli.core.comparison.document import NetworkResult, Results
from erde_cli.core.comparison.plot import band
from erde_cli.core.comparison.report import result_tables, spread, statement
from erde_cli.core.figures import counted
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.comparison import REFERENCES
from erde_cli.core.report.collect.network import exit_name
from erde_cli.core.report.collect.reproduce import recipe_text
from erde_cli.core.report.collect.training import MOST_VALUES, training
from erde_cli.core.report.collect.typed import Typed
from erde_cli.core.report.document import (
    Fact,
    ReportDocument,
    Table,
    TradeCurve,
    TradeOffSection,
    TradePoint,
    TrainingSection,
)

_TRAININGS = 12  # curves of more networks make the file too large


def collect_comparison(
    found: Results | None,
    recipe: Recipe,
    facts: Sequence[Fact],
    logs: dict[str, Path],
    student: Typed,
) -> ReportDocument:
    """The report of a comparison.

    Args:
        found: its results; None if it is not finished.
        recipe: of all students.
        facts: how to make it again.
        logs: folder of log files by name of a training.
        student: one student's bundle as commands name it.
    """
    sections, missing = _trainings(logs)
    missing.append(
        "Sliders, images, classes: they are in the report of each student, such as "
        f"{student.hint('report {}')}"
    )
    if found is None:
        missing.insert(0, "Results: the comparison is not finished (erde compare resumes it).")
        headline: tuple[Fact, ...] = (Fact("state", "not finished"),)
        return ReportDocument(
            "comparison", recipe.name, headline, training=sections, reproduce=tuple(facts),
            recipe=recipe_text(recipe), missing=tuple(missing),
        )  # fmt: skip
    # The reasons can name folders of this machine.
    missing += [
        f"Not trained: seed {one.seed}, {one.label} (results.md names the reason)."
        for one in found.failed
    ]
    return ReportDocument(
        kind="comparison",
        title=found.recipe,
        headline=_headline(found),
        trade_off=_trade_off(found),
        training=sections,
        tables=_tables(found),
        reproduce=tuple(facts),
        recipe=recipe_text(recipe),
        missing=tuple(missing),
        license=recipe.license or "",
    )


def _trainings(logs: dict[str, Path]) -> tuple[tuple[TrainingSection, ...], list[str]]:
    sections, missing = [], []
    for name, folder in list(logs.items())[:_TRAININGS]:
        values = MOST_VALUES // min(len(logs), _TRAININGS)
        section, notes = training(folder, name, values)
        missing += notes
        if section is not None:
            sections.append(section)
    if len(logs) > _TRAININGS:
        missing.append(f"Training: curves of the first {_TRAININGS} of {len(logs)} networks only.")
    return tuple(sections), missing


def _headline(found: Results) -> tuple[Fact, ...]:
    facts = [Fact("primary difference", statement(found.primary))] if found.primary else []
    facts += [Fact(f"AUC of {one.label}, %", spread(one.auc)) for one in found.summary if one.seeds]
    return (
        *facts,
        Fact("seeds", counted(len(found.seeds), "seed")),
        Fact("test images", f"{found.test_images:,}"),
        Fact("calibration images", f"{found.calibration_images:,}"),
    )


def _tables(found: Results) -> tuple[Table, ...]:
    titles = (
        "Accuracy at equal cost", "Paired differences", "Paired differences with one θ",
        "One θ for all exits", "Cost of the teacher's accuracy",
    )  # fmt: skip
    tables = result_tables(found)
    others = ("Entropy where the teacher is wrong", "Networks without early exits")
    of_others = [others[0]] if any(one.entropy_gaps for one in found.summary) else []
    of_others += [others[1]] if found.static_rivals else []
    return tuple(
        Table(title, tuple(one.head), tuple(map(tuple, one.rows)), one.caption)
        for title, one in zip((*titles, *of_others), tables, strict=True)
    )


def _trade_off(found: Results) -> TradeOffSection:
    """All methods with the band of their seeds, their teacher, and exits alone."""
    curves: list[TradeCurve] = []
    points: list[TradePoint] = []
    for label in found.labels:
        networks = [one.network for one in found.students if one.label == label]
        if networks:
            curves.append(_curve(label, networks))
            points += _exits_alone(label, networks) if label in REFERENCES else []
    teachers = list({one.bundle: one.network for one in found.teachers}.values())
    if teachers:
        curves.append(_curve("teacher", teachers))
        points += _exits_alone("teacher", teachers)
    points += [
        TradePoint(f"{one.label}, without early exits", one.macs, float(np.mean(one.accuracy)))
        for one in found.static_rivals
    ]
    return TradeOffSection("test", found.test_images, tuple(curves), tuple(points))


def _curve(name: str, networks: Sequence[NetworkResult]) -> TradeCurve:
    """Mean over seeds, between the lowest and the highest."""
    macs, shares = band(
        [
            (
                np.array([point.cost for point in one.points]) * one.full_macs,
                np.array([point.accuracy for point in one.points]),
            )
            for one in networks
        ]
    )
    several = len(networks) > 1
    return TradeCurve(
        name, macs, shares.mean(axis=0),
        low=shares.min(axis=0) if several else None,
        high=shares.max(axis=0) if several else None,
    )  # fmt: skip


def _exits_alone(name: str, networks: Sequence[NetworkResult]) -> list[TradePoint]:
    exits = len(networks[0].exits)
    return [
        TradePoint(
            f"{name}, {exit_name(i, exits)} alone",
            networks[0].exits[i].static_macs,
            float(np.mean([one.exits[i].quality.accuracy for one in networks])),
        )
        for i in range(min(len(one.exits) for one in networks))
    ]
