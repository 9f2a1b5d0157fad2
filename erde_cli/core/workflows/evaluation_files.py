"""Files of an evaluation: JSON, tables as CSV, pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erde_cli.core.events import Observer
from erde_cli.core.inference.answers_file import SplitAnswers
from erde_cli.core.inference.by_class import ByClass
from erde_cli.core.inference.confusion_plot import draw_confusion
from erde_cli.core.storage.files import write_text
from erde_cli.core.storage.json_files import write_json
from erde_cli.core.storage.pictures import Point
from erde_cli.core.thresholds.written import write_threshold
from erde_cli.core.workflows.evaluation import Evaluation
from erde_cli.core.workflows.evaluation_plot import TradeOff, draw_trade_off
from erde_cli.core.workflows.kept_answers import Scoring, write_split

TRADE_OFF, CONFUSION = "tradeoff.png", "confusion.png"


@dataclass(frozen=True)
class EvaluationFiles:
    """An evaluation and its pictures; None for a picture that could not be drawn."""

    evaluation: Evaluation
    picture: Path | None
    confusion: Path | None


def write_evaluation(
    evaluation: Evaluation, teacher: Point | None, folder: Path, observer: Observer
) -> EvaluationFiles:
    """Write JSON, tables and pictures into a folder; `teacher` is a point in the picture."""
    name = evaluation.bundle.document.recipe.get("name", "")
    title = f"{name}: {len(evaluation.right):,} images ({evaluation.split})"
    drawn = draw_trade_off(folder / TRADE_OFF, _trade_off(title, evaluation, teacher), observer)
    confusion = draw_confusion(folder / CONFUSION, title, evaluation.by_class, observer)
    write_text(folder / "sweep.csv", _sweep_csv(evaluation))
    write_text(folder / "classes.csv", _classes_csv(evaluation.by_class))
    write_text(folder / "confusion.csv", _confusion_csv(evaluation.by_class))
    write_json(folder / "evaluation.json", evaluation.to_json())
    observer.artifact(folder / "evaluation.json", "evaluation")
    return EvaluationFiles(evaluation, drawn, confusion)


def write_answers(evaluation: Evaluation, folder: Path) -> str:
    """Keep the answers to a split of the bundle's data set; return the digest of the content."""
    document = evaluation.bundle.thresholds() if evaluation.thresholds is not None else None
    scoring = Scoring.of(document, evaluation.precision)
    answers = SplitAnswers.of(evaluation.answers, evaluation.labels)
    return write_split(evaluation.bundle, folder, evaluation.split, answers, scoring)


def _trade_off(title: str, evaluation: Evaluation, teacher: Point | None) -> TradeOff:
    chosen = None
    if evaluation.thresholds is not None:
        chosen = Point(evaluation.adaptive.expected_macs, evaluation.adaptive.accuracy)
    exits = zip(evaluation.profile.cumulative_macs, evaluation.answers.accuracy, strict=True)
    return TradeOff(
        title,
        [Point(row.adaptive.expected_macs, row.adaptive.accuracy) for row in evaluation.sweep],
        [Point(macs, accuracy) for macs, accuracy in exits],
        chosen,
        teacher,
    )


def _sweep_csv(evaluation: Evaluation) -> str:
    head = [f"threshold_{evaluation.score.unit}", "accuracy", "expected_macs"]
    head += [f"exit_rate_{i}" for i in range(len(evaluation.profile.exits))]
    rows = (
        [
            write_threshold(row.threshold),
            row.adaptive.accuracy,
            row.adaptive.expected_macs,
            *row.adaptive.exit_rates,
        ]
        for row in evaluation.sweep
    )
    return _csv(head, rows)


def _classes_csv(by_class: ByClass) -> str:
    exits = len(by_class.cumulative_macs)
    head = ["class_name", "images", "recall", "precision", "expected_macs"]
    rows = (
        [*(row[name] for name in head), *(row["exit_rates"] or [None] * exits)]
        for row in by_class.rows()
    )
    return _csv([*head, *(f"exit_rate_{i}" for i in range(exits))], rows)


def _confusion_csv(by_class: ByClass) -> str:
    rows = zip(by_class.class_names, by_class.confusion.tolist(), strict=True)
    return _csv(["true_class", *by_class.class_names], ([name, *counts] for name, counts in rows))


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
