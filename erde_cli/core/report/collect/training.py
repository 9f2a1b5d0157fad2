"""Curves of a training, from its log files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from erde_cli.core.report.document import TrainingCurve, TrainingSection
from erde_cli.core.storage.json_files import LARGEST, JsonError, parse_json

METRICS, TIMINGS = "metrics.jsonl", "timings.jsonl"
MOST_VALUES = 16_000  # of all trainings of a report; more make the file too large
_POINTS = 200  # of a curve; more epochs are thinned
_LEAST_POINTS = 20
_CURVES = 200  # of a log
_LONGEST = 100  # characters of a column's name
_GROUPS = {
    "learning_rate": "rate", "skipped_steps": "steps", "accuracy_calibration": "accuracy",
    "teacher_wrong": "teacher", "images_per_second": "speed",
    "entropy_teacher_wrong": "entropy", "entropy_teacher_right": "entropy",
}  # fmt: skip
_LEFT_OUT = ("epoch", "collapsed", "seconds", "images")


def training(
    logs: Path, role: str, values: int = MOST_VALUES // 2
) -> tuple[TrainingSection | None, list[str]]:
    """Curves of the log files in a folder, and sentences about what cannot be read.

    Args:
        logs: the folder.
        role: name of the training.
        values: points of all curves together, at most; epochs are left out evenly.
    """
    curves: list[TrainingCurve] = []
    missing = []
    for name in (METRICS, TIMINGS):
        if (logs / name).is_file():
            try:
                curves += islice(_curves(_rows(logs / name, values)), _CURVES)
            except (OSError, ValueError):
                missing.append(f"Training of the {role}: {name} cannot be read.")
    found = TrainingSection(role, tuple(curves)) if curves else None
    return found, missing


def _rows(path: Path, values: int) -> list[dict[str, Any]]:
    """Rows of a log in their order, so many that they hold about so many values.

    Raises:
        ValueError: a line is not an object with an epoch, or the file is too large.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise JsonError("too large")
    rows = [parse_json(line) for line in content.decode().splitlines()]
    if not all(isinstance(row, dict) and _number(row.get("epoch")) for row in rows):
        raise JsonError("a line without an epoch")
    widest = (
        sum(len(one) if isinstance(one, list) else 1 for one in rows[0].values()) if rows else 1
    )
    points = max(_LEAST_POINTS, min(_POINTS, values // min(widest, _CURVES)))
    return rows[:: max(1, -(-len(rows) // points))]


def _curves(rows: list[dict[str, Any]]) -> Iterator[TrainingCurve]:
    """One curve for each number of a row; one for each exit of a list."""
    epochs = np.array([row["epoch"] for row in rows], dtype=np.float64)
    names = dict.fromkeys(name for row in rows for name in row if name not in _LEFT_OUT)
    for name in names:
        values = [row.get(name) for row in rows]
        lists = [value for value in values if isinstance(value, list)]
        group = _GROUPS.get(name, "loss")
        if not lists:
            yield TrainingCurve(name[:_LONGEST], group, epochs, _array(values))
            continue
        for place in range(max(map(len, lists))):
            of_exit = [
                value[place] if isinstance(value, list) and place < len(value) else None
                for value in values
            ]
            label = f"{name[:_LONGEST]}, exit {place + 1}"
            yield TrainingCurve(label, group, epochs, _array(of_exit))


def _array(values: list[Any]) -> Any:
    return np.array([value if _number(value) else math.nan for value in values], dtype=np.float64)


def _number(value: object) -> bool:
    """Whether a value of untrusted JSON is a number; whole ones can be larger than a float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
