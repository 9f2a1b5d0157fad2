"""The files of a comparison: `results.json`, `.csv`, `.md`, and the picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from erde_cli.core.comparison.plot import ComparisonPicture, Drawn, draw_comparison
from erde_cli.core.comparison.report import markdown
from erde_cli.core.comparison.variants import METHODS
from erde_cli.core.events import Observer
from erde_cli.core.storage.files import write_text
from erde_cli.core.storage.json_files import Json, write_json
from erde_cli.core.storage.pictures import Point

JSON, CSV, MARKDOWN, PICTURES = (
    "results.json", "results.csv", "results.md", ("results.png", "results.svg"),
)  # fmt: skip
_OF_EXIT = (
    "accuracy", "auroc_error", "auroc_repairable", "accuracy_certain", "ece", "nll",
    "cumulative_macs", "static_macs",
)  # fmt: skip


def write_results(run: Path, document: Json, names: Mapping[str, str], observer: Observer) -> None:
    """Write every file of a comparison into its folder; the JSON comes last, once all are whole.

    Args:
        run: the folder.
        document: the object of `results.json`.
        names: of students by their labels, as the picture has them.
        observer: is told of a picture that could not be drawn.
    """
    write_text(run / CSV, _csv(document))
    write_text(run / MARKDOWN, markdown(document))
    for name in PICTURES:
        draw_comparison(run / name, _picture(document, names), observer)
    write_json(run / JSON, document)
    observer.artifact(run / JSON, "comparison")


def _csv(document: Json) -> str:
    """One row for each student."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    exits = range(max(len(one["exits"]) for one in document["students"]))
    budgets = document["budgets"]
    writer.writerow([
        "seed", "method", "auc", *(f"accuracy_at_{budget}" for budget in budgets), "full_macs",
        *(f"exit_{i}_{name}" for i in exits for name in _OF_EXIT),
    ])  # fmt: skip
    for one in document["students"]:
        of_exits = [exit_[name] for exit_ in one["exits"] for name in _OF_EXIT]
        writer.writerow(
            [
                one["seed"],
                one["method"],
                one["auc"],
                *one["at_budgets"],
                one["full_macs"],
                *of_exits,
            ]
        )
    return text.getvalue()


def _picture(document: Json, names: Mapping[str, str]) -> ComparisonPicture:
    drawn = []
    for label in document["methods"]:
        mine = [one for one in document["students"] if one["method"] == label]
        if mine:
            drawn.append(_drawn(names[label], mine, plain=label in METHODS))
    teachers = list({one["bundle"]: one for one in document["teachers"]}.values())
    teacher = _drawn("teacher", teachers, last_only=True) if teachers else None
    rivals = [
        Point(one["macs"], float(np.mean(one["accuracy"]))) for one in document["static_rivals"]
    ]
    seeds = len(document["seeds"])
    title = (
        f"{document['recipe']}: {document['test_images']:,} test images, "
        f"{seeds} seed{'s' if seeds > 1 else ''}"
    )
    return ComparisonPicture(title, drawn, teacher, rivals)


def _drawn(
    label: str, networks: list[Json], *, plain: bool = True, last_only: bool = False
) -> Drawn:
    curves = []
    for one in networks:
        cost = np.array([point["cost"] for point in one["points"]])
        accuracy = np.array([point["accuracy"] for point in one["points"]])
        curves.append((cost * one["full_macs"], accuracy))
    count = len(networks[0]["exits"])
    exits = [
        Point(
            networks[0]["exits"][e]["static_macs"],
            float(np.mean([one["exits"][e]["accuracy"] for one in networks])),
        )
        for e in range(count - 1 if last_only else 0, count)
    ]
    sweeps = [
        (np.array(sweep["cost"]) * one["full_macs"], np.array(sweep["accuracy"]))
        for one in networks
        if (sweep := one.get("one_threshold"))  # teachers have none
    ]
    return Drawn(label, curves, exits, plain, sweeps)
