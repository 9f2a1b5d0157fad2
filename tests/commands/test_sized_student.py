"""A student given by a family and a budget, through the command line."""

import json
from pathlib import Path

import pytest
import yaml

from ..conftest import Cli, JsonOf


@pytest.fixture
def recipe(tiny_recipe: Path, tmp_path: Path) -> Path:
    document = yaml.safe_load(tiny_recipe.read_text())
    document["student"] = {
        "family": "resnet", "depth": 8, "budget": 0.3, "exits": 3, "head": "gap",
    }  # fmt: skip
    for role in ("teacher", "student"):
        document["training"][role]["epochs"] = 1
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_run_trains_the_chosen_student_and_keeps_it(
    recipe: Path, tmp_path: Path, cli: Cli, json_of: JsonOf
) -> None:
    code, _, err = cli("run", recipe, "--out", tmp_path / "run")
    assert code == 0, err
    assert "(chosen)" in err
    bundle = json.loads((tmp_path / "run/student/bundle.json").read_text())
    student = bundle["recipe"]["student"]
    assert student["family"] is None
    assert student["width"] == bundle["architecture"]["width"]
    plan = json_of("plan", recipe, "--out", tmp_path / "run")
    assert plan["kept"] == ["teacher", "student", "calibration", "evaluation"]
    teacher, chosen = (plan[role]["profile"]["full_macs"] for role in ("teacher", "student"))
    assert 0.2 < chosen / teacher <= 0.3


def test_distill_and_compare_train_the_chosen_student(
    recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    cli("train-teacher", recipe, "--out", tmp_path / "run")
    cli("distill", recipe, "--out", tmp_path / "run", "--set", "student.budget=0.6")
    cli("compare", recipe, "--methods", "erde,kd", "--seeds", "1", "--teacher",
        tmp_path / "run/teacher", "--out", tmp_path / "compared")  # fmt: skip
    timed = ("student.width=4", "student.budget={latency_ms: 10000}")  # leaves the image size
    sets = [word for text in timed for word in ("--set", text)]
    for _ in range(2):
        code, _, err = cli("compare", recipe, *sets, "--methods", "erde", "--seeds", "1", "--out",
                           tmp_path / "timed")  # fmt: skip
        assert code == 0, err
    assert "kept in" in err
    widths = [
        json.loads((tmp_path / path / "student/bundle.json").read_text())["architecture"]["width"]
        for path in ("run", "compared/seed-3/erde", "compared/seed-3/kd")
    ]
    assert widths[0] > widths[1] == widths[2]
