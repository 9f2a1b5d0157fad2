"""What half B was tested for stays known, whatever becomes of the thresholds and the weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from erde_cli.app import main
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.bundle.writer import Images, Origin, save_bundle
from erde_cli.core.calibration.tests_file import TESTS, read_tests
from erde_cli.core.device import make_context
from erde_cli.core.models.architecture import Architecture

from ..conftest import Cli, JsonOf


def spoil(student: Path) -> None:
    (student / "thresholds.json").write_text("{")


def remove(student: Path) -> None:
    (student / "thresholds.json").unlink()


def estimate(student: Path) -> None:
    assert main(["calibrate", str(student), "--max-drop", "1", "-q"]) == 0


def move(student: Path) -> None:
    shutil.copytree(student, student.parent / "moved")
    shutil.rmtree(student)
    (student.parent / "moved").rename(student)


def retrain(student: Path) -> None:
    """Other weights in the place of these, as after another recipe."""
    bundle, document = load_bundle(student), load_bundle(student).document
    with torch.no_grad():
        next(bundle.model.parameters()).mul_(1.5)
    images = Images(
        bundle.normalisation, bundle.class_names, document.rules, None, document.split_fingerprint
    )
    origin = Origin("student", bundle.recipe, "0" * 64, make_context("cpu"))
    architecture = Architecture.from_json(document.architecture.model_dump())
    save_bundle(student, bundle.model, architecture, images, origin)


BETWEEN = [spoil, remove, estimate, move, retrain]


@pytest.mark.parametrize("between", BETWEEN, ids=lambda one: one.__name__)
def test_what_was_tested_is_known_whatever_became_of_the_thresholds(
    student: Path, cli: Cli, between: Callable[[Path], None]
) -> None:
    assert cli("calibrate", student, "--max-risk", 0.3)[0] == 0
    between(student)
    code, out, err = cli("calibrate", student, "--max-risk", 0.5, "--json")
    assert code == 0
    assert "was tested for disagreement 30 % before" in err
    assert json.loads(out)["certificate"]["earlier"] == [
        {"risk": "disagreement", "epsilon": 0.3, "confidence": 0.9}
    ]


@pytest.mark.parametrize("between", [estimate, retrain], ids=lambda one: one.__name__)
def test_a_certificate_without_a_record_is_recorded_before_it_is_replaced(
    student: Path, cli: Cli, json_of: JsonOf, between: Callable[[Path], None]
) -> None:
    json_of("calibrate", student, "--max-risk", 0.2)
    json_of("calibrate", student, "--max-risk", 0.3)
    (student / TESTS).unlink()
    between(student)
    code, out, err = cli("calibrate", student, "--max-risk", 0.5, "--json")
    assert code == 0
    assert "was tested for disagreement 20 %, disagreement 30 % before" in err
    assert [one["epsilon"] for one in json.loads(out)["certificate"]["earlier"]] == [0.2, 0.3]
    assert [one.epsilon for one in read_tests(student)] == [0.2, 0.3, 0.5]


def test_a_test_that_the_certificate_tells_twice_is_recorded_once(
    student: Path, json_of: JsonOf
) -> None:
    json_of("calibrate", student, "--max-risk", 0.3)
    json_of("calibrate", student, "--max-risk", 0.3, "--temperature")  # the same level before it
    (student / TESTS).unlink()
    assert [one.epsilon for one in read_tests(student)] == [0.3]


def test_the_same_test_once_more_is_no_other(student: Path, cli: Cli) -> None:
    for between in (move, spoil, estimate):
        code, out, err = cli("calibrate", student, "--max-risk", 0.3, "--json")
        assert (code, "before" in err) == (0, False)
        assert json.loads(out)["certificate"]["earlier"] == []
        assert len(read_tests(student)) == 1
        between(student)


def test_other_images_are_not_warned_of(student: Path, digit_files: Path, cli: Cli) -> None:
    assert cli("calibrate", student, "--max-risk", 0.3)[0] == 0
    code, out, err = cli("calibrate", student, "--max-risk", 0.5, "--images", digit_files, "--json")
    assert (code, "before" in err) == (0, False)
    assert json.loads(out)["certificate"]["earlier"] == []
    assert len(read_tests(student)) == 2


def test_a_test_is_recorded_before_its_result_is_kept(
    student: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("erde_cli.core.workflows.calibrate.draw_frontier", fail)
    assert cli("calibrate", student, "--max-risk", 0.3)[0] == 130
    monkeypatch.undo()
    _, _, err = cli("calibrate", student, "--max-risk", 0.5)
    assert "was tested for disagreement 30 % before" in err


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 1}', '{"format": 2}', None], ids=lambda text: repr(text)
)
def test_without_a_record_that_can_be_read_nothing_is_promised(
    student: Path, cli: Cli, text: str | None
) -> None:
    assert cli("calibrate", student, "--max-risk", 0.3)[0] == 0
    path = student / TESTS
    changed = path.read_text().replace("0.3", "0.4") if text is None else text
    path.write_text(changed)
    before = (student / "thresholds.json").read_bytes()
    code, _, err = cli("calibrate", student, "--max-risk", 0.5)
    assert code == 2
    assert f"{path} is not what erde wrote" in err
    assert "restore the file" in err
    assert "pydantic" not in err
    assert (student / "thresholds.json").read_bytes() == before
    for command in (["--max-drop", 1], ["--pick", "max-macs=0.7"], ["--threshold", "never"]):
        assert cli("calibrate", student, *command)[0] == 0
    retrain(student)
    assert path.read_text() == changed


def test_a_run_typed_again_warns_of_no_test(
    run_copy: Path, tiny_recipe: Path, cli: Cli, student: Path
) -> None:
    line = ("run", tiny_recipe, "--out", run_copy, "--force",
            "--set", "calibration={max_risk: 0.3}")  # fmt: skip
    for between in (lambda _: None, remove, estimate):
        between(student)
        code, _, err = cli(*line)
        assert code == 0, err
        assert "before" not in err
    assert len(read_tests(student)) == 1
