"""What stays true of a calibration afterwards: picks, edits, other images, tests once more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Cli, JsonOf
from ..edited import edit_json


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """By hand, the seal left as it was."""
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("first", [("--threshold", "never"), ("--max-risk", 0.001)])
@pytest.mark.parametrize("pick", ["max-macs=0.99", "max-macs=0.5"])
def test_after_a_pick_the_images_calibrated_on_are_no_drift(
    student: Path, json_of: JsonOf, cli: Cli, first: tuple[str, object], pick: str
) -> None:
    before = json_of("calibrate", student, *first)["half_b_exits"]
    assert before[:-1] == [0, 0]  # nobody may leave early, which is dearer than any of the picks
    found = json_of("calibrate", student, "--pick", pick)
    assert found["half_b_exits"] != before
    code, out, err = cli("evaluate", student, "--split", "calibration", "--json")
    assert code == 0
    assert json.loads(out)["drift"]["drifted"] is False
    assert "not like" not in err


def test_the_certificate_speaks_of_the_thresholds_in_force(
    student: Path, json_of: JsonOf, cli: Cli
) -> None:
    tested = json_of("calibrate", student, "--max-risk", 0.3)["certificate"]
    assert (tested["basis"], tested["promised"]) == ("test", 0.3)
    _, out, _ = cli("calibrate", student, "--pick", "max-risk=0.45")
    assert "Promised: on average, at most 45 % of images" in out
    assert "the level could be chosen afterwards" in out
    bounds = json_of("calibrate", student, "--pick", "max-risk=0.45")
    found = bounds["certificate"]
    assert bounds["certified"] is True
    assert (found["basis"], found["promised"], found["epsilon"]) == ("bounds", 0.45, 0.3)
    assert found["observed"] == pytest.approx(1 - bounds["agreement"])
    assert "at most 45 %" in found["statement"]
    assert "all candidates together" in found["statement"]
    among = json_of("calibrate", student, "--pick", "max-macs=1")
    assert among["certificate"]["promised"] == 0.3
    assert among["certificate"]["observed"] == pytest.approx(1 - among["agreement"])
    assert "named before these images were looked at" in among["certificate"]["statement"]
    cheapest = among["frontier"][-1]["expected_macs"] / json_of("profile", student)["full_macs"]
    beyond = json_of("calibrate", student, "--pick", f"max-macs={cheapest}")
    assert beyond["certified"] is False
    assert (beyond["certificate"]["basis"], beyond["certificate"]["promised"]) == (None, None)
    assert beyond["certificate"]["statement"].startswith("Not certified")
    code, out, err = cli("calibrate", student, "--pick", "max-macs=0.01")
    assert code == 0
    assert "No stored point meets --max-macs 0.01" in err
    assert "The target cannot be met" in out


def test_levels_tried_one_after_the_other_are_told_and_kept(
    student: Path, json_of: JsonOf, cli: Cli
) -> None:
    assert json_of("calibrate", student, "--max-risk", 0.3)["certificate"]["earlier"] == []
    code, out, err = cli("calibrate", student, "--max-risk", 0.4, "--json")
    assert code == 0
    assert "was tested for disagreement 30 % before" in err
    assert "--pick max-risk=EPS" in err
    earlier = json.loads(out)["certificate"]["earlier"]
    assert earlier == [{"risk": "disagreement", "epsilon": 0.3, "confidence": 0.9}]
    _, _, err = cli("calibrate", student, "--max-risk", 0.4)
    assert "before" in err  # it was, though not this level
    _, out, err = cli("calibrate", student, "--max-risk", 0.4, "--temperature", "--json")
    assert "disagreement 40 % before" in err  # other scores of the same images
    assert [one["epsilon"] for one in json.loads(out)["certificate"]["earlier"]] == [0.3, 0.4]


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.update(thresholds=[3.0, 3.0]),
        lambda d: d.update(temperatures=[3.0, 3.0, 1.0]),
        lambda d: d["certificate"].update(epsilon=0.001),
    ],
    ids=["thresholds", "temperatures", "certificate"],
)
def test_a_promise_does_not_survive_an_edited_file(
    student: Path, json_of: JsonOf, cli: Cli, edit: Callable[[dict[str, Any]], object]
) -> None:
    json_of("calibrate", student, "--max-risk", 0.3)
    change(student / "thresholds.json", edit)
    code, _, err = cli("evaluate", student)
    assert code == 2
    assert "was changed after it was written, so its guarantee is void" in err
    change(student / "thresholds.json", lambda d: d.update(certified=False))
    assert cli("evaluate", student)[0] == 2


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.update(frontier=[]),
        lambda d: d["frontier"][0].update(thresholds=[1.0]),
        lambda d: d["frontier"][0].update(half_b_exits=[1]),
        lambda d: d.update(half_b_exits=[5]),
        lambda d: d.update(half_b_exits=[0, 0, 0]),
        lambda d: d.update(exit_rates=[1.0]),
        lambda d: d.update(exit_accuracy=[1.0]),
        lambda d: d["held_out"].update(exit_rates=[1.0]),
    ],
)
def test_lists_of_another_length_are_refused_by_every_command(
    student: Path, cli: Cli, edit: Callable[[dict[str, Any]], object]
) -> None:
    edit_json(student / "thresholds.json", edit)
    before = (student / "thresholds.json").read_bytes()
    for command in (["evaluate", student], ["profile", student],
                    ["calibrate", student, "--pick", "max-macs=0.5"]):  # fmt: skip
        code, _, err = cli(*command)
        assert code == 2
        assert "bug in erde" not in err
        assert "pydantic" not in err
    assert (student / "thresholds.json").read_bytes() == before


def test_a_promise_holds_on_the_kind_of_device_it_was_tested_on(
    student: Path, json_of: JsonOf
) -> None:
    from erde_cli import load

    found = json_of("calibrate", student, "--max-risk", 0.3)
    assert found["device"] == "cpu"
    document = load(student).thresholds()
    assert document is not None
    assert document.certified_on("cpu")
    assert not document.certified_on("cuda")
    assert json_of("evaluate", student)["certified"] is True


def test_a_kept_student_learns_that_it_was_tuned_on_all(
    run_copy: Path, tiny_recipe: Path, cli: Cli
) -> None:
    arguments = ("--out", run_copy, "--force", "--set", "calibration.tuned_on=all")
    code, _, err = cli("run", tiny_recipe, *arguments)
    assert code == 0, err
    assert "student: nothing has changed, kept" in err
    code, _, err = cli("calibrate", run_copy / "student", "--max-risk", 0.3)
    assert code == 2
    assert "was tuned on all" in err


def test_what_cannot_be_promised_is_explained_as_it_is(student: Path, cli: Cli) -> None:
    code, out, _ = cli("calibrate", student, "--max-risk", 1e-17)
    assert code == 0
    assert "at least" in out
    code, out, _ = cli("calibrate", student, "--max-risk", 1e-10, "--risk", "accuracy-gap")
    assert code == 0
    assert "Nothing is promised" in out


def test_evaluate_tells_what_a_promise_speaks_of(student: Path, cli: Cli, json_of: JsonOf) -> None:
    json_of("calibrate", student, "--max-risk", 0.3)
    _, out, _ = cli("evaluate", student)
    assert "get the same label as at the last exit; a guarantee covers the thresholds" in out
    json_of("calibrate", student, "--max-macs", 0.7)
    _, out, _ = cli("evaluate", student)
    assert "no guarantee covers the thresholds" in out
