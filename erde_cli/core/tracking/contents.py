"""What trackers receive: parameters, figures of an epoch, figures of the results. No file names."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from erde_cli.core.storage.json_files import parse_json

Parameter = str | int | float | bool
_OF_NETWORK = (
    "accuracy", "balanced_accuracy", "full_accuracy", "agreement", "expected_macs", "full_macs",
    "static_macs",
)  # fmt: skip
_OF_EXIT = ("accuracy", "exit_rate", "cumulative_macs")
_PATHS = ("root", "weights")  # keys of recipes
_RATIOS = ("macs_ratio", "size_ratio", "exit_ratio", "accuracy_drop")


def parameters(recipe: Mapping[str, Any]) -> dict[str, Parameter]:
    """The recipe with dotted keys; of a path, only the last part."""
    found: dict[str, Parameter] = {}
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{name}": inner for name, inner in parameters(value).items()}
        elif isinstance(value, list | tuple):
            found[key] = json.dumps(value)
        elif value is not None:
            found[key] = _without_folders(key, value) if isinstance(value, str) else value
    return found


def logged(logs: Path, after: int, last: int) -> list[dict[str, Any]]:
    """Rows of `metrics.jsonl` after the epoch `after` up to the epoch `last`.

    The training has just written the file, from the state that it resumes.
    """
    if after >= last:
        return []
    lines = (logs / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(parse_json, lines) if after < row["epoch"] <= last]


def of_epoch(row: Mapping[str, Any]) -> dict[str, float]:
    """Figures of a row of `metrics.jsonl`: loss, terms, accuracies; one for each exit."""
    found: dict[str, float] = {}
    for name, value in row.items():
        if name == "collapsed":
            found["collapsed_exits"] = float(len(value))
        elif name != "epoch":
            found |= _by_exit(name, value)
    return found


def of_report(report: Mapping[str, Any]) -> dict[str, float]:
    """Figures of `report.json`, without those of classes."""
    found: dict[str, float] = {}
    for role in ("teacher", "student"):
        for name in _OF_NETWORK:
            found |= _by_exit(f"report/{role}/{name}", report[role][name])
        for name in _OF_EXIT:
            values = [exit_[name] for exit_ in report[role]["exits"]]
            found |= _by_exit(f"report/{role}/{name}", values)
    for name in _RATIOS:
        found |= _by_exit(f"report/{name}", report[name])
    low, high = report["accuracy_drop_interval"]
    found |= _by_exit("report/accuracy_drop_low", low) | _by_exit("report/accuracy_drop_high", high)
    for phase, seconds in report["seconds"].items():
        found |= _by_exit(f"report/seconds/{phase}", seconds)
    return found


def of_thresholds(document: Mapping[str, Any]) -> dict[str, float]:
    """Figures of `thresholds.json`, on the calibration images."""
    found = _by_exit("calibration/exit_rate", document["exit_rates"])
    for name in ("accuracy", "full_accuracy", "agreement", "expected_macs"):
        found |= _by_exit(f"calibration/{name}", document[name])
        found |= _by_exit(f"calibration/held_out/{name}", document["held_out"][name])
    return found


def of_comparison(results: Mapping[str, Any]) -> dict[str, float]:
    """Figures of `results.json`: the area under the curve of every student, over the seeds."""
    found: dict[str, float] = {}
    for row in results["summary"]:
        for name, value in row["auc"].items():
            found |= _by_exit(f"comparison/{row['method']}/auc_{name}", value)
    return found


def _by_exit(name: str, value: object) -> dict[str, float]:
    """Finite numbers under their names; those of a list have the number of the exit, from 0."""
    if isinstance(value, list | tuple):
        return _joined(_by_exit(f"{name}/exit_{i}", one) for i, one in enumerate(value))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {name: float(value)} if number and math.isfinite(value) else {}  # type: ignore[arg-type]


def _joined(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    return {name: value for part in parts for name, value in part.items()}


def _without_folders(key: str, text: str) -> str:
    return Path(text).name if key in _PATHS or text.startswith(("/", "~", "..")) else text
