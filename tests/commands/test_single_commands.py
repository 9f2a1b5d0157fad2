"""Every single command through the real command line: keys, tables, targets, refusals."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import erde_cli
from erde_cli.core.data.batches import evaluation_batches
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.device import Context
from erde_cli.core.inference.routing import route

from ..conftest import Cli, JsonOf

TRAIN_KEYS = {"bundle", "epochs", "images_per_second", "accuracy_calibration", "seconds", "data"}


def test_train_teacher_gives_the_documented_keys_and_a_bundle(
    tiny_recipe: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    found = json_of(
        "train-teacher", tiny_recipe, "--out", tmp_path, "--set", "training.teacher.epochs=2"
    )
    assert set(found) == TRAIN_KEYS
    assert found["bundle"] == str(tmp_path / "teacher")
    assert found["epochs"] == 2
    assert len(found["accuracy_calibration"]) == 3
    assert found["images_per_second"] > 0
    assert (tmp_path / "teacher" / "model.safetensors").is_file()


def test_out_defaults_to_the_recipes_name(
    tiny_recipe: Path, tmp_path: Path, json_of: JsonOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = json_of("train-teacher", tiny_recipe, "--set", "training.teacher.epochs=2")
    assert found["bundle"] == "runs/tiny/teacher"


def test_distill_takes_a_teacher_from_elsewhere(
    tiny_recipe: Path, tmp_path: Path, finished_run: Path, json_of: JsonOf
) -> None:
    found = json_of(
        "distill", tiny_recipe, "--out", tmp_path, "--teacher", finished_run / "teacher",
        "--set", "distillation.method=kd",
    )  # fmt: skip
    assert set(found) == TRAIN_KEYS
    assert found["epochs"] == 3
    kd = (tmp_path / "student/model.safetensors").read_bytes()
    assert kd != (finished_run / "student/model.safetensors").read_bytes()


def test_training_prints_one_line_an_epoch_off_a_terminal(
    tiny_recipe: Path, tmp_path: Path, finished_run: Path, cli: Cli
) -> None:
    code, out, err = cli(
        "distill", tiny_recipe, "--out", tmp_path, "--teacher", finished_run / "teacher"
    )
    assert code == 0
    lines = [line for line in err.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 3
    for part in ("loss", "CE", "KD", "E ", "teacher wrong", "images/s", "ETA", "calibration"):
        assert part in lines[0]
    assert "\x1b" not in err + out
    assert "Student on the tuning half of the calibration split" in out


def test_quiet_shows_results_only(student: Path, cli: Cli) -> None:
    code, out, err = cli("evaluate", student, "--quiet", "--split", "calibration")
    assert (code, err) == (0, "")
    assert "calibration" in out


def test_profile_counts_the_networks_own_macs(finished_run: Path, json_of: JsonOf) -> None:
    found = json_of("profile", finished_run / "student")
    assert set(found) == {
        "input_shape", "parameters", "full_macs", "static_macs", "expected_macs", "exits",
        "latency", "verdict",
    }  # fmt: skip
    assert found["input_shape"] == [3, 8, 8]
    assert sum(row["parameters"] for row in found["exits"]) == found["parameters"]
    assert json_of("profile", finished_run / "teacher")["expected_macs"] is None


def test_evaluate_writes_a_table_a_sweep_and_a_picture(
    finished_run: Path, tmp_path: Path, cli: Cli
) -> None:
    code, out, _ = cli("evaluate", finished_run / "student", "--out", tmp_path / "here")
    assert code == 0
    assert "Do not choose θ from this sweep" in out
    assert "never" in out
    assert "always" in out
    rows = list(csv.DictReader((tmp_path / "here/sweep.csv").read_text().splitlines()))
    assert (rows[0]["threshold_nats"], rows[-1]["threshold_nats"]) == ("never", "always")
    costs = [float(row["expected_macs"]) for row in rows]
    assert costs == sorted(costs, reverse=True)
    assert float(rows[0]["exit_rate_2"]) == 1
    with Image.open(tmp_path / "here/tradeoff.png") as image:
        assert image.format == "PNG"


def test_evaluate_agrees_with_routing_image_by_image(finished_run: Path, json_of: JsonOf) -> None:
    found = json_of("evaluate", finished_run / "student")
    bundle = erde_cli.load(finished_run / "student")
    thresholds = bundle.thresholds()
    assert thresholds is not None
    store = open_dataset(bundle.recipe.data).load("test")
    context = Context(next(bundle.model.parameters()).device, "float32", 1)
    right, exits = [], []
    for batch in evaluation_batches(store, bundle.normalisation, context, 50):
        routed = route(bundle.model, batch.images, thresholds.values)
        right += (routed.logits.argmax(dim=1) == batch.labels).tolist()
        exits += routed.exit.tolist()
    assert np.mean(right) == pytest.approx(found["accuracy"])
    rates = np.bincount(exits, minlength=3) / len(exits)
    assert rates.tolist() == pytest.approx([row["exit_rate"] for row in found["exits"]])


def test_evaluate_without_thresholds_never_leaves_early(run_copy: Path, json_of: JsonOf) -> None:
    (run_copy / "student/thresholds.json").unlink()
    found = json_of("evaluate", run_copy / "student")
    assert found["thresholds"] is None
    assert found["accuracy"] == found["full_accuracy"]
    assert found["expected_macs"] == found["full_macs"]


def test_evaluate_takes_a_users_own_folder(
    folder: Path, folder_recipe: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    run = tmp_path / "run"
    json_of("run", folder_recipe, "--out", run, "--set", "name=猫")
    own = json_of("evaluate", run / "student")
    moved = tmp_path / r"d$\foo$"  # means something to matplotlib, which draws it
    shutil.move(folder, moved)
    again = json_of("evaluate", run / "student", "--data", moved)
    assert again["exits"] == own["exits"]
    assert again["split"] == str(moved)


def test_a_bundle_is_a_movable_folder(
    run_copy: Path, tmp_path: Path, json_of: JsonOf, finished_run: Path
) -> None:
    moved = tmp_path / "far" / "away"
    moved.parent.mkdir()
    shutil.move(run_copy / "student", moved)
    alone, at_home = json_of("evaluate", moved), json_of("evaluate", finished_run / "student")
    assert at_home.pop("entropy_gaps") != alone.pop("entropy_gaps") is None  # without its teacher
    assert alone == at_home


def test_another_inference_precision_is_recorded_and_must_match(
    run_copy: Path, json_of: JsonOf, cli: Cli
) -> None:
    student = run_copy / "student"
    plain = json_of("calibrate", student, "--max-macs", 0.7)
    reduced = json_of("calibrate", student, "--max-macs", 0.7, "--precision", "bfloat16")
    assert reduced["thresholds"] != plain["thresholds"]
    assert json.loads((student / "thresholds.json").read_text())["precision"] == "bfloat16"
    again = json_of("evaluate", student, "--split", "calibration")
    assert again["expected_macs"] == pytest.approx(reduced["expected_macs"])
    code, _, err = cli("evaluate", student, "--precision", "float32")
    assert code == 2
    assert "another precision" in err


def test_the_schema_of_a_recipe_is_printed_as_json(json_of: JsonOf, cli: Cli) -> None:
    code, out, err = cli("recipes", "schema")
    assert (code, err) == (0, "")
    assert json.loads(out) == json_of("recipes", "schema")
    assert json.loads(out)["properties"]["teacher"] == {"$ref": "#/$defs/Network"}


def test_recipes_are_listed_and_shown(json_of: JsonOf, cli: Cli) -> None:
    names = [recipe["name"] for recipe in json_of("recipes")["recipes"]]
    assert {"cifar10", "cifar10-cpu", "digits", "image-folder"} < set(names)
    code, out, _ = cli("recipes")
    assert code == 0
    assert "image-folder" in out
    code, out, _ = cli("recipes", "show", "digits")
    assert out == Path("recipes/digits.yaml").read_text()
    assert json_of("recipes", "show", "digits")["text"] == out


def test_recipe_errors_come_all_at_once_and_as_an_object(tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("data: {dataset: digit}\nteachr: {}\n")
    code, out, err = cli("run", path, "--json", "--set", "student.depth=9")
    assert code == 2
    problems = {problem["path"] for problem in json.loads(out)["error"]["problems"]}
    assert problems == {"data.dataset", "teachr", "teacher", "student.depth", "training"}
    assert "did you mean digits?" in err
    assert "did you mean teacher?" in err


def test_control_characters_and_markup_in_names_are_shown_not_obeyed(cli: Cli) -> None:
    code, _, err = cli("profile", "[red]x\x1b[2J")
    assert code == 2
    assert "\x1b" not in err
    assert "[red]x\\x1b[2J" in err


def test_a_teacher_with_other_exits_is_used_by_pairing(
    tiny_recipe: Path, tmp_path: Path, json_of: JsonOf, cli: Cli
) -> None:
    quick = ("--set", "training.teacher.epochs=1", "--set", "training.student.epochs=1")
    json_of("train-teacher", tiny_recipe, "--out", tmp_path / "t", "--set", "teacher.exits=5",
            "--set", "student.exits=1", "--set", "distillation.pairing=[4]", *quick)  # fmt: skip
    teacher = tmp_path / "t/teacher"
    arguments = ("distill", tiny_recipe, "--out", tmp_path / "s", "--teacher", teacher, *quick)
    code, _, err = cli(*arguments)
    assert code == 2
    assert "the teacher has 5 exits and the student 3" in err
    assert "[2, 3, 4]" in err
    found = json_of(*arguments, "--set", "distillation.pairing=[2, 3, 4]")
    assert len(found["accuracy_calibration"]) == 3


def test_unreadable_files_are_left_out_and_names_need_not_be_utf_8(
    folder: Path, folder_recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    for path in (folder / "train/dark/x.png", folder / "test/light/y.png"):
        path.write_bytes(b"no image")
    odd = os.fsencode(folder / "train/dark") + b"/\xff\xfe.png"
    shutil.copy(folder / "train/dark/00.png", os.fsdecode(odd))
    change = ("--set", "data.unreadable=skip")
    code, _, err = cli("run", folder_recipe, "--out", tmp_path / "run", *change)
    assert code == 0
    assert "2 unreadable files skipped" in err
    code, _, err = cli("evaluate", tmp_path / "run/student", "--data", folder)
    assert code == 0  # the bundle's setting holds for other folders as well
    assert "1 unreadable file skipped" in err


def test_evaluate_marks_the_teacher_from_inside_the_bundle_too(
    run_copy: Path, finished_run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_copy / "student")
    assert cli("evaluate", ".", "--out", "here")[0] == 0
    picture = finished_run / "student/evaluation/test/tradeoff.png"
    assert (run_copy / "student/here/tradeoff.png").read_bytes() == picture.read_bytes()


def test_a_terminal_that_cannot_show_theta_is_no_error(finished_run: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "erde_cli", "profile", str(finished_run / "student")],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"cumulative" in done.stdout


def test_giving_nothing_shows_the_help(cli: Cli) -> None:
    code, out, err = cli()
    assert code == 2
    assert "erde run digits" in out + err
    assert "Error" not in err
