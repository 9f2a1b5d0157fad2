"""`erde run`: the whole way, what it keeps, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from erde_cli.commands.run import saves_nothing
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.run import run_recipe

from ..conftest import Cli
from ..faults.runs import Line, differences, files_of

EVALUATE_KEYS = {
    "split", "images", "accuracy", "full_accuracy", "expected_macs", "full_macs", "static_macs",
    "thresholds", "exits", "certified", "drift", "agreement", "balanced_accuracy", "classes",
    "entropy_gaps",
}  # fmt: skip
REPORT_KEYS = {
    "data", "teacher", "student", "macs_ratio", "size_ratio", "exit_ratio", "accuracy_drop",
    "accuracy_drop_interval", "seconds",
}  # fmt: skip


def test_the_report_has_exactly_the_documented_keys(report: dict[str, Any]) -> None:
    assert set(report) == REPORT_KEYS
    assert set(report["teacher"]) == set(report["student"]) == EVALUATE_KEYS
    assert set(report["student"]["exits"][0]) == {
        "exit", "accuracy", "exit_rate", "cumulative_macs",
    }  # fmt: skip
    assert set(report["seconds"]) == {"teacher", "student", "calibration", "evaluation"}


def test_the_report_tells_entropies_where_the_teacher_is_wrong_of_the_student_alone(
    report: dict[str, Any], finished_run: Path
) -> None:
    assert report["teacher"]["entropy_gaps"] is None
    gaps = report["student"]["entropy_gaps"]
    assert [one["exit"] for one in gaps] == [0, 1]
    exits = report["teacher"]["exits"]
    assert [one["share_wrong"] for one in gaps] == [
        pytest.approx(1 - exits[exit_]["accuracy"]) for exit_ in (0, 1)
    ]
    for one in gaps:
        assert one["gap"] == pytest.approx(one["wrong"] - one["right"])
        share = one["share_wrong"]
        both = share * one["accuracy_wrong"] + (1 - share) * one["accuracy_right"]
        assert both == pytest.approx(report["student"]["exits"][one["exit"]]["accuracy"])
    rows = (finished_run / "logs/student/metrics.jsonl").read_text().splitlines()
    assert len(json.loads(rows[-1])["entropy_teacher_wrong"]) == 2


def test_the_ratio_is_the_product_of_size_and_early_exit(report: dict[str, Any]) -> None:
    teacher, student = report["teacher"], report["student"]
    assert report["macs_ratio"] == teacher["static_macs"] / student["expected_macs"]
    assert report["macs_ratio"] == pytest.approx(report["size_ratio"] * report["exit_ratio"])
    assert report["size_ratio"] == teacher["static_macs"] / student["static_macs"]


def test_the_drop_is_in_points_from_the_teachers_last_exit(report: dict[str, Any]) -> None:
    teacher, student = report["teacher"], report["student"]
    drop = 100 * (teacher["full_accuracy"] - student["accuracy"])
    low, high = report["accuracy_drop_interval"]
    assert report["accuracy_drop"] == pytest.approx(drop)
    assert low < drop < high


def test_the_teacher_is_evaluated_without_early_exit(report: dict[str, Any]) -> None:
    teacher = report["teacher"]
    assert teacher["thresholds"] is None
    assert [row["exit_rate"] for row in teacher["exits"]] == [0, 0, 1]
    assert teacher["accuracy"] == teacher["full_accuracy"] == teacher["exits"][-1]["accuracy"]


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_expected_macs_are_exit_rates_times_cumulative_macs(
    report: dict[str, Any], role: str
) -> None:
    found = report[role]
    expected = sum(row["exit_rate"] * row["cumulative_macs"] for row in found["exits"])
    assert found["expected_macs"] == pytest.approx(expected)
    assert sum(row["exit_rate"] for row in found["exits"]) == pytest.approx(1)
    assert found["full_macs"] == found["exits"][-1]["cumulative_macs"] > found["static_macs"]
    assert found["split"] == "test"
    assert found["images"] == 359


def test_the_run_holds_bundles_logs_pictures_and_no_temporary_files(finished_run: Path) -> None:
    files = {path.relative_to(finished_run).as_posix() for path in finished_run.rglob("*.*")}
    for role in ("teacher", "student"):
        assert f"{role}/model.safetensors" in files
        assert f"{role}/evaluation/test/tradeoff.png" in files
        for name in ("sweep.csv", "classes.csv", "confusion.csv", "confusion.png"):
            assert f"{role}/evaluation/test/{name}" in files
        assert f"logs/{role}/metrics.jsonl" in files
        assert f"logs/{role}/timings.jsonl" in files
    assert not [name for name in files if "/." in name or name.startswith(".")]


def test_precision_is_written_into_the_run(finished_run: Path) -> None:
    context = json.loads((finished_run / "logs/student/context.json").read_text())
    assert context["precision"] in ("float32", "bfloat16")
    assert context["device"] == "cpu"
    bundle = json.loads((finished_run / "student/bundle.json").read_text())
    assert bundle["training"]["precision"] == context["precision"]


def test_every_term_and_the_share_of_teacher_errors_is_logged(finished_run: Path) -> None:
    lines = (finished_run / "logs/student/metrics.jsonl").read_text().splitlines()
    assert len(lines) == 3
    for name in ("cross_entropy", "distillation", "entropy", "teacher_wrong"):
        assert len(json.loads(lines[-1])[name]) == 3
    assert json.loads(lines[0])["entropy"][0] > 0  # a teacher of 4 epochs is wrong somewhere
    assert json.loads(lines[0])["entropy"][-1] == 0  # never at the last exit


def test_the_picture_is_a_picture(finished_run: Path) -> None:
    with Image.open(finished_run / "student/evaluation/test/tradeoff.png") as image:
        assert min(image.size) > 500


def test_a_second_run_keeps_every_phase(
    run_copy: Path, tiny_recipe: Path, cli: Cli, report: dict[str, Any]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in run_copy.rglob("*") if p.name != "run.json"}
    code, out, err = cli("run", tiny_recipe, "--out", run_copy, "--json")
    assert code == 0
    assert err.count("nothing has changed, kept") == 4
    assert json.loads(out) == report
    after = {p: p.stat().st_mtime_ns for p in run_copy.rglob("*") if p.name != "run.json"}
    assert {p for p in after if p.is_file() and after[p] != before[p]} == set()


def test_a_changed_recipe_is_refused_and_the_differences_are_named(
    run_copy: Path, tiny_recipe: Path, cli: Cli
) -> None:
    change = "distillation.temperature=3"
    code, _, err = cli("run", tiny_recipe, "--out", run_copy, "--set", change)
    assert code == 2
    assert "distillation.temperature: 2.0 there, 3" in err
    assert "--force" in err


def test_force_does_again_only_what_changed(
    run_copy: Path, tiny_recipe: Path, cli: Cli, report: dict[str, Any]
) -> None:
    teacher = (run_copy / "teacher/model.safetensors").stat().st_mtime_ns
    student = (run_copy / "student/model.safetensors").read_bytes()
    code, out, err = cli(
        "run", tiny_recipe, "--out", run_copy, "--force", "--json",
        "--set", "distillation.temperature=3",
    )  # fmt: skip
    assert code == 0, err
    assert "teacher: nothing has changed, kept" in err
    assert "student: nothing" not in err
    assert (run_copy / "teacher/model.safetensors").stat().st_mtime_ns == teacher
    assert (run_copy / "student/model.safetensors").read_bytes() != student
    assert json.loads(out)["seconds"]["teacher"] == report["seconds"]["teacher"]


def test_another_target_calibrates_and_evaluates_again_but_trains_nothing(
    run_copy: Path, tiny_recipe: Path, cli: Cli
) -> None:
    code, out, err = cli(
        "run", tiny_recipe, "--out", run_copy, "--force", "--json",
        "--set", "calibration.max_macs=0.6",
    )  # fmt: skip
    assert code == 0, err
    assert err.count("kept") == 2
    student = json.loads(out)["student"]
    assert student["expected_macs"] < 0.75 * student["full_macs"]


def test_a_run_fits_temperatures_where_the_recipe_says_so_and_keeps_them(
    run_copy: Path, tiny_recipe: Path, cli: Cli
) -> None:
    wanted = ("--force", "--json", "--set", "calibration.temperature=true")
    code, _, err = cli("run", tiny_recipe, "--out", run_copy, *wanted)
    assert code == 0, err
    assert err.count("kept") == 2
    written = json.loads((run_copy / "student/thresholds.json").read_text())
    assert len(written["temperatures"]) == 3
    code, _, err = cli("run", tiny_recipe, "--out", run_copy, *wanted)
    assert code == 0, err
    assert "calibration: nothing has changed, kept" in err


def test_bundles_of_single_commands_are_kept_by_run_or_refused(
    run_copy: Path, tiny_recipe: Path, cli: Cli
) -> None:
    (run_copy / "run.json").unlink()
    code, _, err = cli("run", tiny_recipe, "--out", run_copy, "--set", "student.width=5")
    assert code == 2
    assert "student.width: 4 there, 5 here" in err
    code, _, err = cli("run", tiny_recipe, "--out", run_copy)
    assert code == 0
    assert "teacher: nothing has changed, kept" in err


def test_the_shipped_digits_twice_are_the_same_bytes(tmp_path: Path) -> None:
    """In processes of their own, every file, pictures included; only its epochs are fewer."""
    few = [f"training.{role}.epochs={count}" for role, count in (("teacher", 1), ("student", 2))]
    arguments = ("run", "digits", *(part for one in few for part in ("--set", one)))
    runs = [tmp_path / "one", tmp_path / "two"]
    for run in runs:
        Line(arguments, tmp_path / run.name / "cache").finish(run)
        shutil.rmtree(run / "cache", ignore_errors=True)
    assert differences(*runs) == []
    assert len(files_of(runs[0])) >= 16


def test_another_seed_trains_another_network(
    finished_run: Path, tiny_recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    arguments = ("train-teacher", tiny_recipe, "--out", tmp_path / "other", "--seed", 4, "-q")
    assert cli(*arguments)[0] == 0
    other = (tmp_path / "other/teacher/model.safetensors").read_bytes()
    assert other != (finished_run / "teacher/model.safetensors").read_bytes()


def test_moved_images_train_nothing_again_and_changed_ones_do(
    tmp_path: Path, folder: Path, folder_recipe: Path
) -> None:
    run = tmp_path / "run"
    run_recipe(load_recipe(str(folder_recipe)), run, Options("cpu", 1))
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    recipe = load_recipe(str(folder_recipe), [f"data.root={moved}", "name=renamed"])
    kept = run_recipe(recipe, run, Options("cpu", 1)).kept
    assert kept == ["teacher", "student", "calibration", "evaluation"]
    first = sorted((moved / "train").rglob("*.png"))[0]
    Image.new("RGB", (8, 8), (1, 2, 3)).save(first)
    assert run_recipe(recipe, run, Options("cpu", 1)).kept == []


def test_the_tables_say_what_was_gained(
    run_copy: Path, tiny_recipe: Path, cli: Cli, report: dict[str, Any]
) -> None:
    code, out, _ = cli("run", tiny_recipe, "--out", run_copy, "--quiet")
    assert code == 0
    assert f"{report['macs_ratio']:.1f} times fewer MACs than the teacher" in out
    assert "95 % interval" in out
    assert "Teacher and student on the test split" in out


def student_of(rates: list[float], expected: float, static: float = 880) -> dict[str, Any]:
    exits = [
        {"exit": place, "exit_rate": rate, "cumulative_macs": 300 * (place + 1)}
        for place, rate in enumerate(rates)
    ]
    return {
        "exits": exits, "expected_macs": expected, "static_macs": static,
        "full_macs": exits[-1]["cumulative_macs"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (student_of([0.01, 0, 0.99], 894), "takes 894 on average, and the same network without "),
        (student_of([0.1, 0, 0.9], 880), "MACs: an image takes 880 on average"),
        (student_of([0, 0, 1], 900), "900 on average (every image leaves at exit 3 of 3), and"),
        (student_of([1, 0, 0], 300), "nothing: every image leaves at exit 1 of 3. A network"),
        (student_of([0, 1, 0], 600), "nothing: every image leaves at exit 2 of 3. A network"),
    ],
)
def test_where_early_exit_saves_nothing_it_is_said_with_what_to_do(
    student: dict[str, Any], said: str
) -> None:
    [sentence] = saves_nothing(student, Path("runs/[a]/student"))
    assert said in sentence
    assert r"erde calibrate runs/\[a]/student --max-macs 0.66" in sentence
    assert "fewer exits (student.exits in the recipe)" in sentence


def test_where_early_exit_saves_macs_nothing_is_said_and_one_exit_saves_none() -> None:
    assert saves_nothing(student_of([0.05, 0, 0.95], 870), Path("a")) == []
    [sentence] = saves_nothing(student_of([1], 300, static=300), Path("a"))
    assert "one exit, so no image can leave early" in sentence
    assert "with more (student.exits" in sentence
    assert "--max-macs" not in sentence


def test_a_run_whose_images_all_go_to_the_last_exit_says_that_nothing_is_saved(
    run_copy: Path, tiny_recipe: Path, cli: Cli
) -> None:
    never = ("--set", "calibration.threshold=never", "--force", "--quiet")
    code, out, err = cli("run", tiny_recipe, "--out", run_copy, *never)
    assert code == 0, err
    assert "on average (every image leaves at exit 3 of 3)" in out
    assert f"erde calibrate {run_copy / 'student'} --max-macs" in out
    code, _, err = cli("run", tiny_recipe, "--out", run_copy, *never[:3])
    assert (code, err.count("kept")) == (0, 4), err  # a threshold of 0 is one


def test_thresholds_of_another_precision_are_chosen_again(
    tiny_recipe: Path, run_copy: Path, cli: Cli
) -> None:
    arguments = ("--max-drop", 2, "--precision", "bfloat16", "--quiet")
    assert cli("calibrate", run_copy / "student", *arguments)[0] == 0
    code, _, err = cli("run", tiny_recipe, "--out", run_copy)
    assert code == 0
    assert "calibration: nothing" not in err
    assert json.loads((run_copy / "student/thresholds.json").read_text())["precision"] == "float32"


@pytest.mark.parametrize(
    "name",
    [
        "report.json",
        "student/evaluation/test/tradeoff.png",
        "teacher/evaluation/test/confusion.png",
    ],
)
def test_a_missing_result_is_made_again_without_training(
    name: str, tiny_recipe: Path, run_copy: Path, cli: Cli
) -> None:
    before = (run_copy / name).read_bytes() if name.endswith("png") else b""
    (run_copy / name).unlink()
    code, _, err = cli("run", tiny_recipe, "--out", run_copy)
    assert code == 0
    assert err.count("kept") == 3
    assert (run_copy / name).is_file()
    assert not before or (run_copy / name).read_bytes() == before


def test_a_forced_run_that_fails_leaves_no_old_report(
    tiny_recipe: Path, run_copy: Path, cli: Cli
) -> None:
    code, _, _ = cli(
        "run", tiny_recipe, "--out", run_copy, "--force",
        "--set", "training.student.learning_rate=1e30",
        "--set", "training.student.gradient_clipping=null",
    )  # fmt: skip
    assert code == 1
    assert not (run_copy / "report.json").exists()
    assert cli("run", tiny_recipe, "--out", run_copy)[0] == 0
    assert (run_copy / "report.json").exists()


def test_a_student_distilled_by_hand_from_the_runs_teacher_is_kept(
    tiny_recipe: Path, run_copy: Path, cli: Cli
) -> None:
    (run_copy / "run.json").unlink()
    teacher = run_copy / "teacher"
    recipe = ("--set", "teacher.exits=3")
    assert cli("distill", tiny_recipe, "--out", run_copy, "--teacher", teacher, "-q")[0] == 0
    code, _, err = cli("run", tiny_recipe, "--out", run_copy)
    assert code == 0
    assert "student: nothing has changed, kept" in err
    code, _, err = cli("run", tiny_recipe, "--out", run_copy, *recipe)
    assert code == 2
    assert "teacher.exits: [2, 4] there, 3 here" in err


def test_a_mapped_store_trains_the_same_bytes(
    cli: Cli, folder_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "cache"))
    errs = []
    for name, limit in (("held", 2000), ("mapped", 0)):
        change = ("--set", f"data.memory_limit={limit}")
        code, _, err = cli("run", folder_recipe, "--out", tmp_path / name, *change)
        assert code == 0, err
        errs.append(err)
    assert errs[0].count("Decoded images: 12 kB, cached in") == 1
    assert "Decoded images" not in errs[1]
    for role in ("teacher", "student"):
        weights = [
            (tmp_path / name / role / "model.safetensors").read_bytes()
            for name in ("held", "mapped")
        ]
        assert weights[0] == weights[1]
    # The limit makes no other recipe: nothing is done again.
    code, _, err = cli("run", folder_recipe, "--out", tmp_path / "held", *change)
    assert code == 0
    assert err.count("nothing has changed, kept") == 4
