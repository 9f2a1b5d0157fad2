"""`calibration.metric`, `--metric`: what keeps to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erde_cli import load
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.workflows import calibrate as module

from ..conftest import Cli, JsonOf
from ..edited import update_json

BALANCED = ("--metric", "balanced_accuracy")
OF_RECIPE = ("--set", "calibration.metric=balanced_accuracy")


@pytest.fixture(scope="module")
def uneven(finished_run: Path, digit_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test digits in a folder per class: 2 of the first one, 3 more of each that follows."""
    bundle, root = load(finished_run / "student"), tmp_path_factory.mktemp("uneven")
    labels = open_dataset(bundle.recipe.data).load("test").labels.numpy()
    paths = np.array(sorted(digit_files.rglob("*.png")))
    for number, name in enumerate(bundle.class_names):
        (root / name).mkdir()
        for path in paths[labels == number][: 2 + 3 * number]:
            shutil.copy(path, root / name)
    return root


def test_the_command_keeps_to_it_and_says_so(
    student: Path, uneven: Path, cli: Cli, json_of: JsonOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("calibrate", student, "--max-drop", 4, "--data", uneven)
    by_accuracy = json_of(*line)
    assert by_accuracy["target"]["metric"] == "accuracy"
    assert by_accuracy["balanced_accuracy"] is by_accuracy["exit_balanced_accuracy"] is None
    drawn: list[Any] = []
    monkeypatch.setattr(
        module, "draw_frontier", lambda path, picture, observer: drawn.append(picture)
    )
    found = json_of(*line, *BALANCED)
    assert found["format"] == 3
    assert found["target"] == {
        "kind": "max_drop", "value": 4.0, "unit": "points", "metric": "balanced_accuracy",
        "how": "searched",
    }  # fmt: skip
    assert found["balanced_accuracy"] >= found["full_balanced_accuracy"] - 0.04 - 1e-9
    cheapest = min(
        point["expected_macs"]
        for point in found["frontier"]
        if point["balanced_accuracy"] >= found["full_balanced_accuracy"] - 0.04
    )
    assert found["expected_macs"] <= cheapest
    assert found["exit_balanced_accuracy"] != found["exit_accuracy"] == by_accuracy["exit_accuracy"]
    held_out = found["held_out"]
    lost = held_out["full_balanced_accuracy"] - held_out["balanced_accuracy"]
    assert found["met"] == (lost <= 0.04 + 1e-9)
    evaluated = json_of("evaluate", student, "--data", uneven)
    for name in ("accuracy", "balanced_accuracy"):
        assert evaluated[name] == pytest.approx(found[name])
    [picture] = drawn
    assert picture.measure == "balanced accuracy"
    assert picture.chosen[1] == found["balanced_accuracy"]
    assert picture.last_exit[1] == found["full_balanced_accuracy"]
    assert [dot[1] for dot in picture.curves[1].dots] == [
        point["held_out"]["balanced_accuracy"] for point in found["frontier"]
    ]
    code, out, _ = cli(*line, *BALANCED)
    assert code == 0
    assert "balanced accuracy %" in " ".join(out.split())
    assert f"{100 * found['balanced_accuracy']:.2f}" in out
    verdict = json_of("profile", student)["verdict"]
    assert verdict["accuracy"] == held_out["balanced_accuracy"]
    assert [one["accuracy"] for one in verdict["exits"]] == found["exit_balanced_accuracy"]


def test_picks_keep_to_the_metric_of_the_last_calibration(
    student: Path, uneven: Path, digit_files: Path, json_of: JsonOf
) -> None:
    found = json_of("calibrate", student, "--max-macs", 0.9, "--data", uneven, *BALANCED)
    points = found["frontier"]
    kept = {
        points_lost: min(
            (one for one in points if one["balanced_accuracy"]
             >= one["full_balanced_accuracy"] - points_lost / 100 - 1e-9),
            key=lambda one: float(one["expected_macs"]),
        )
        for points_lost in (1, 3, 10, 20)
    }  # fmt: skip
    for points_lost, expected in kept.items():
        pick = ("--pick", f"max-drop={points_lost}")
        told = json_of("predict", student, next(digit_files.rglob("*.png")), *pick)["totals"]
        assert told["thresholds"] == expected["thresholds"]
        assert told["target"]["metric"] == "balanced_accuracy"
        picked = json_of("calibrate", student, *pick)
        assert picked["thresholds"] == expected["thresholds"]
        assert picked["target"]["metric"] == "balanced_accuracy"
        assert picked["balanced_accuracy"] == expected["balanced_accuracy"]
        held_out = picked["held_out"]
        lost = held_out["full_balanced_accuracy"] - held_out["balanced_accuracy"]
        assert picked["met"] == (lost <= points_lost / 100 + 1e-9)
    assert len({tuple(one["thresholds"]) for one in kept.values()}) > 1


def test_temperatures_and_missed_targets_are_told_by_the_metric(
    student: Path, uneven: Path, cli: Cli, json_of: JsonOf
) -> None:
    line = (
        "calibrate",
        student,
        "--min-accuracy",
        0.5,
        "--temperature",
        "--data",
        uneven,
        *BALANCED,
    )
    found = json_of(*line)
    without = found["temperature"]["without"]["held_out"]["balanced_accuracy"]
    out = " ".join(cli(*line)[1].split())
    assert "balanced accuracy of 0.5 or more" in out
    assert f"the same target gives {100 * without:.2f} %" in out


def test_another_metric_calibrates_and_evaluates_again_and_trains_nothing(
    run_copy: Path, tiny_recipe: Path, cli: Cli
) -> None:
    line = ("run", tiny_recipe, "--out", run_copy, *OF_RECIPE)
    code, _, err = cli(*line)
    assert code == 2
    assert "\n  calibration.metric: accuracy there, balanced_accuracy here\n" in err
    code, _, err = cli(*line, "--force")
    assert code == 0, err
    assert [f"{one}: nothing" in err for one in ("teacher", "student", "calibration")] == [
        True, True, False,
    ]  # fmt: skip
    assert "evaluation: nothing" not in err
    written = json.loads((run_copy / "student/thresholds.json").read_text())
    assert written["target"]["metric"] == "balanced_accuracy"
    code, _, err = cli(*line)
    assert (code, err.count("nothing has changed, kept")) == (0, 4), err


ASKED = {"kind": "max_drop", "value": 2, "unit": "points", "how": "searched"}
WITHOUT = "balanced accuracies must be present"


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"target": {**ASKED, "metric": "recall"}}, "target.metric"),
        ({"target": {**ASKED, "metric": "balanced_accuracy"}}, WITHOUT),
        ({"balanced_accuracy": 0.5, "full_balanced_accuracy": 0.5}, WITHOUT),
        ({"exit_balanced_accuracy": [0.1, 0.2, 0.3]}, WITHOUT),
    ],
    ids=str,
)
def test_a_metric_without_its_figures_is_refused(
    student: Path, cli: Cli, edit: dict[str, Any], says: str
) -> None:
    update_json(student / "thresholds.json", **edit)
    code, _, err = cli("evaluate", student)
    assert code == 2
    assert says in err
