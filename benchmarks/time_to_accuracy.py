"""Print operations and minutes until networks of finished runs reach some accuracies.

python -m benchmarks.time_to_accuracy --runs RUN... [--levels 80 85 88] [--json]

Each RUN is a folder of `erde run`, or of `erde train-teacher` and `erde distill`. Only its logs and
bundles are read. Accuracies are those of the last exit on the tuning half of the calibration split,
after each epoch. A student's operations and minutes include those of its teacher. Training on an
image costs three forward passes, and each of the teacher's answers one. A multiply-add is two
operations. Minutes are of the machine that trained, without the evaluations.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import arguments, print_results
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.models.profile import profile_model
from erde_cli.core.recipe.schema import ROLES

FORWARD, TRAINED = 2, 6  # operations per multiply-add, and with the backward pass


@dataclass(frozen=True)
class Epoch:
    """Operations and seconds up to the end of an epoch, and the accuracy in per cent."""

    operations: float
    seconds: float
    accuracy: float


def epochs_of(run: Path, role: str, macs: float, teacher_macs: float, before: Epoch) -> list[Epoch]:
    """The epochs of one network of a run.

    Args:
        run: folder of the run.
        role: teacher or student.
        macs: of a forward pass through all exits.
        teacher_macs: the same of the teacher; 0 without one.
        before: operations and seconds up to the first step.
    """
    rows, times = (_lines(run / "logs" / role / f"{n}.jsonl") for n in ("metrics", "timings"))
    recipe = json.loads((run / "logs" / role / "context.json").read_text("utf-8"))["recipe"]
    views = recipe["distillation"]["teacher_cache"]["views"] or len(rows)
    spent, seconds, epochs = before.operations, before.seconds, []
    for number, (row, time) in enumerate(zip(rows, times, strict=True)):
        teacher = FORWARD * teacher_macs if number < views else 0.0
        spent += time["images"] * (TRAINED * macs + teacher)
        seconds += time["seconds"]
        epochs.append(Epoch(spent, seconds, 100 * row["accuracy_calibration"][-1]))
    return epochs


def first_at(epochs: list[Epoch], level: float) -> Epoch | None:
    """The first epoch that reaches an accuracy; None if none does."""
    return next((one for one in epochs if one.accuracy >= level), None)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _cells(one: Epoch | None) -> list[str]:
    return ["-", "-"] if one is None else [f"{one.operations:.3g}", f"{one.seconds / 60:.1f}"]


def main() -> None:
    """Print the table."""
    given = arguments(
        __doc__ or "",
        runs={"nargs": "+", "type": Path, "required": True, "help": "folders of finished runs"},
        levels={"nargs": "+", "type": float, "default": [80, 85, 88], "help": "per cent"},
    )
    rows, document = [], []
    for run in given.runs:
        before, teacher_macs = Epoch(0, 0, 0), 0.0
        for role in ROLES:
            bundle = load_bundle(run / role)
            macs = profile_model(bundle.model, bundle.image_size).full_macs
            epochs = epochs_of(run, role, macs, teacher_macs, before)
            at = {f"{level:g}": first_at(epochs, level) for level in given.levels}
            rows.append(
                [str(run), role, *(cell for one in at.values() for cell in _cells(one)),
                 *_cells(epochs[-1]), f"{epochs[-1].accuracy:.2f}"]
            )  # fmt: skip
            document.append({
                "run": str(run), "role": role, "end": vars(epochs[-1]),
                "levels": {level: one and vars(one) for level, one in at.items()},
            })  # fmt: skip
            teacher_macs, before = macs, epochs[-1]
    heads = [
        f"{unit} to {level:g} %" for level in given.levels for unit in ("operations", "minutes")
    ]
    columns = ["run", "network", *heads, "operations", "minutes", "accuracy %"]
    print_results("Until an accuracy is reached", columns, rows, given.json, {"networks": document})


if __name__ == "__main__":
    main()
