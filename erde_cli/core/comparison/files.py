"""The files of a comparison: `results.json`, `.csv`, `.md`, and the picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from erde_cli.core.comparison.document import NetworkResult, Results, Sweep
from erde_cli.core.comparison.plot import ComparisonPicture, Drawn, draw_comparison
from erde_cli.core.comparison.report import markdown
from erde_cli.core.events import Observer
from erde_cli.core.figures import counted
from erde_cli.core.recipe.sections.comparison import REFERENCES
from erde_cli.core.storage.files import write_text
from erde_cli.core.storage.json_files import write_json
from erde_cli.core.storage.pictures import Point

JSON, CSV, MARKDOWN, PICTURES = (
    "results.json", "results.csv", "results.md", ("results.png", "results.svg"),
)  # fmt: skip
_OF_EXIT = (
    "accuracy", "auroc_error", "auroc_repairable", "accuracy_certain", "ece", "nll",
    "cumulative_macs", "static_macs",
)  # fmt: skip


def write_results(run: Path, found: Results, observer: Observer) -> None:
    """Write every file of a comparison into its folder, the JSON last.

    Args:
        run: the folder.
        found: the results.
        observer: receives a warning if a picture cannot be drawn.
    """
    write_text(run / CSV, _csv(found))
    write_text(run / MARKDOWN, markdown(found))
    for name in PICTURES:
        draw_comparison(run / name, _picture(found), observer)
    write_json(run / JSON, found.to_json())
    observer.artifact(run / JSON, "comparison")


def _csv(found: Results) -> str:
    """One row for each student."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    exits = range(max(len(one.network.exits) for one in found.students))
    budgets = [f"accuracy_at_{budget}" for budget in found.budgets]
    of_exits = [f"exit_{i}_{name}" for i in exits for name in _OF_EXIT]
    writer.writerow(["seed", "method", "auc", *budgets, "full_macs", *of_exits])
    for one in found.students:
        network = one.network
        figures = [exit_.to_json()[name] for exit_ in network.exits for name in _OF_EXIT]
        curve = [network.auc, *network.at_budgets, network.full_macs]
        writer.writerow([one.seed, one.label, *curve, *figures])
    return text.getvalue()


def _picture(found: Results) -> ComparisonPicture:
    drawn = []
    for label in found.labels:
        mine = [one for one in found.students if one.label == label]
        if mine:
            networks, sweeps = zip(*((one.network, one.one_threshold) for one in mine), strict=True)
            reference = label in REFERENCES
            drawn.append(_drawn(label, networks, sweeps, reference=reference))
    teachers = {one.bundle: one.network for one in found.teachers}.values()
    teacher = _drawn("teacher", [*teachers], last_only=True) if teachers else None
    rivals = [Point(one.macs, float(np.mean(one.accuracy))) for one in found.static_rivals]
    images, seeds = counted(found.test_images, "test image"), counted(len(found.seeds), "seed")
    title = f"{found.recipe}: {images}, {seeds}"
    return ComparisonPicture(title, drawn, teacher, rivals)


def _drawn(
    label: str,
    networks: Sequence[NetworkResult],
    sweeps: Sequence[Sweep] = (),
    *,
    reference: bool = True,
    last_only: bool = False,
) -> Drawn:
    """The networks of one student or of the teacher, which has no sweep of one θ."""
    curves = []
    for one in networks:
        cost = np.array([point.cost for point in one.points])
        accuracy = np.array([point.accuracy for point in one.points])
        curves.append((cost * one.full_macs, accuracy))
    count = len(networks[0].exits)
    exits = [
        Point(
            networks[0].exits[e].static_macs,
            float(np.mean([one.exits[e].quality.accuracy for one in networks])),
        )
        for e in range(count - 1 if last_only else 0, count)
    ]
    swept = [
        (np.array(sweep.cost) * one.full_macs, np.array(sweep.accuracy))
        for one, sweep in zip(networks, sweeps, strict=False)
    ]
    return Drawn(label, curves, exits, reference, swept)
