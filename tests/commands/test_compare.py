"""`erde compare`: what it trains, keeps, names and says."""

import csv
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from erde_cli.app import main
from erde_cli.core.comparison.curves import area, one_threshold
from erde_cli.core.comparison.rivals import static_rivals
from erde_cli.core.comparison.stored import read_results
from erde_cli.core.comparison.students import student_specs
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.errors import TrainingError
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.report.collect.reproduce import recipe_text
from erde_cli.core.report.document import Fact, ReportDocument
from erde_cli.core.workflows import compare_networks as module
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.report_sources import of_bundle, of_comparison

from ..conftest import Cli
from ..edited import update_json
from ..security.conftest import Payload

FEW = ("--set", "training.student.epochs=1", "--set", "training.teacher.epochs=2")
RESULT_KEYS = {
    "recipe", "seeds", "methods", "settings", "shared_teacher", "calibration_images", "test_images",
    "budgets", "draws", "teachers", "students", "summary", "primary", "differences",
    "one_threshold", "static_rivals", "failed",
}  # fmt: skip
NETWORK_KEYS = {
    "seed", "bundle", "full_macs", "static_macs", "least_cost", "auc", "at_budgets", "points",
    "exits",
}  # fmt: skip
MORE = """
comparison:
  students:
    - erde
    - {name: masked, distillation: {weights: {entropy: 0}}}
    - kd
    - cross_entropy
"""
QUALITIES = {
    "accuracy", "auroc_error", "auroc_repairable", "accuracy_certain", "ece", "nll",
}  # fmt: skip
SAVING_KEYS = {
    "points", "accuracy", "expected_macs", "macs_ratio", "size_ratio", "exit_ratio", "reached",
}  # fmt: skip
GAP_KEYS = {
    "exit", "wrong", "right", "gap", "share_wrong", "accuracy_wrong", "accuracy_right",
}  # fmt: skip
DIFFERENCE_KEYS = {
    "a", "b", "measure", "primary", "seeds", "conditional_on_teacher", "of_seeds", "mean",
    "sd_seeds", "sd_images", "interval", "interval_images", "p_value", "interval_corrected",
    "p_corrected", "verdict",
    "at_budgets",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("compare") / "run"
    assert main(["compare", str(tiny_recipe), "--seeds", "2", "--out", str(run), "-q", *FEW]) == 0
    return run


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def document(finished: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((finished / "results.json").read_text())
    return found


def files_of(run: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file() and "seed-" in str(p)}


def test_no_table_is_cut_in_a_pipe(
    tiny_recipe: Path, copy: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    code, out, err = cli("compare", tiny_recipe, "--seeds", 2, "--out", copy, *FEW)
    assert code == 0, err
    assert "…" not in out
    for title in ("Teachers", "Accuracy %", "Exits", "MACs for", "Entropy at", "One θ for"):
        assert f"\n{title}" in f"\n{out}"
    assert out.count("accuracy %") == 5
    assert "simultaneous 95 % interval" in out


def test_the_results_have_exactly_the_documented_keys(document: dict[str, Any]) -> None:
    assert set(document) == RESULT_KEYS
    teacher, student, summary = (document[n][0] for n in ("teachers", "students", "summary"))
    assert set(teacher) == NETWORK_KEYS | {"accuracy", "wrong"}
    assert set(teacher["wrong"]) == {"train", "calibration", "test"}
    assert set(student) == NETWORK_KEYS | {"method", "savings", "entropy_gaps", "one_threshold"}
    assert set(student["entropy_gaps"][0]) == GAP_KEYS
    assert set(student["one_threshold"]) == {"auc", "cost", "accuracy"}
    assert set(student["points"][0]) == {"thresholds", "cost", "accuracy"}
    assert set(student["exits"][0]) == QUALITIES | {"exit", "cumulative_macs", "static_macs"}
    assert set(student["savings"][0]) == SAVING_KEYS | {"thresholds"}
    assert set(summary) == {
        "method", "seeds", "auc", "at_budgets", "exits", "savings", "entropy_gaps", "one_threshold",
    }  # fmt: skip
    assert set(summary["entropy_gaps"][0]) == GAP_KEYS | {"seeds"}
    assert set(summary["one_threshold"]) == {"auc", "cost", "accuracy"}
    assert set(summary["one_threshold"]["cost"][0]) == {"mean", "sd", "low", "high"}
    assert set(document["one_threshold"]) == {"thresholds", "differences"}
    for one in document["one_threshold"]["differences"]:
        assert set(one) == DIFFERENCE_KEYS - {"at_budgets"}
    assert set(summary["auc"]) == {"mean", "sd", "low", "high"}
    assert set(summary["exits"][0]) == QUALITIES | {"exit"}
    assert set(summary["savings"][0]) == SAVING_KEYS | {"seeds"}
    assert set(document["primary"]) == DIFFERENCE_KEYS
    assert set(document["primary"]["at_budgets"][0]) == {"budget", "mean", "interval"}


def test_every_method_has_every_seed(document: dict[str, Any]) -> None:
    assert document["seeds"] == [3, 4]
    assert document["methods"] == ["erde", "kd", "cross_entropy"]
    found = [(one["seed"], one["method"]) for one in document["students"]]
    assert sorted(found) == sorted((s, m) for s in (3, 4) for m in document["methods"])
    assert document["failed"] == []
    assert document["test_images"] == 359


def test_the_difference_is_that_of_the_students(document: dict[str, Any]) -> None:
    auc = {(one["seed"], one["method"]): one["auc"] for one in document["students"]}
    primary = document["primary"]
    assert (primary["a"], primary["b"]) == ("erde", "kd")
    expected = [auc[seed, "erde"] - auc[seed, "kd"] for seed in (3, 4)]
    assert primary["of_seeds"] == pytest.approx(expected)
    assert primary["mean"] == pytest.approx(np.mean(expected))
    low, high = primary["interval"]
    assert low < primary["mean"] < high
    others = [(one["a"], one["b"]) for one in document["differences"] if not one["primary"]]
    assert others == [("erde", "cross_entropy"), ("kd", "cross_entropy")]


def test_only_the_others_are_corrected(document: dict[str, Any]) -> None:
    primary, *others = document["differences"]
    assert primary["p_corrected"] is None
    assert primary["interval_corrected"] is None
    for one in others:
        assert one["p_corrected"] == min(1, len(others) * one["p_value"])
        assert one["interval_corrected"][0] < one["interval"][0]
    for one in document["differences"]:
        low, high = one["interval" if one["primary"] else "interval_corrected"]
        assert (one["verdict"] == "no difference shown") == (low <= 0 <= high)


def test_one_threshold_sweeps_every_student_alike(document: dict[str, Any]) -> None:
    written = document["one_threshold"]["thresholds"]
    assert (written[0], written[-1]) == ("never", "always")
    assert written[1:-1] == one_threshold(10)[1:-1]
    for one in document["students"]:
        found, exits = one["one_threshold"], one["exits"]
        assert len(found["cost"]) == len(found["accuracy"]) == len(written) == 102
        assert found["cost"] == sorted(found["cost"], reverse=True)
        assert found["cost"][0] == pytest.approx(1)
        assert found["cost"][-1] == pytest.approx(one["least_cost"])
        assert found["accuracy"][0] == pytest.approx(exits[-1]["accuracy"])
        assert found["accuracy"][-1] == pytest.approx(exits[0]["accuracy"])
        points = np.array(found["cost"]), np.array(found["accuracy"])
        assert found["auc"] == pytest.approx(float(area(*points)))
    for one in document["summary"]:
        mine = [s["one_threshold"] for s in document["students"] if s["method"] == one["method"]]
        for name in ("cost", "accuracy"):
            middle = [values[name][50] for values in mine]
            assert one["one_threshold"][name][50]["mean"] == pytest.approx(np.mean(middle))


def test_one_threshold_has_differences_of_its_own(document: dict[str, Any]) -> None:
    auc = {(s["seed"], s["method"]): s["one_threshold"]["auc"] for s in document["students"]}
    planned, *others = document["one_threshold"]["differences"]
    assert (planned["a"], planned["b"], planned["measure"]) == ("erde", "kd", "auc_one_threshold")
    assert not any(one["primary"] for one in (planned, *others))
    assert (planned["interval_corrected"], planned["p_corrected"]) == (None, None)
    low, high = planned["interval"]
    assert (planned["verdict"] == "no difference shown") == (low <= 0 <= high)
    for one in (planned, *others):
        of_seeds = [auc[seed, one["a"]] - auc[seed, one["b"]] for seed in (3, 4)]
        assert one["of_seeds"] == pytest.approx(of_seeds)
    assert len(others) == 2
    for one in others:  # a family of two, not of four with those of the primary measure
        assert one["p_corrected"] == min(1, 2 * one["p_value"])
        assert one["interval_corrected"][0] < one["interval"][0]


def right_in(arrays: dict[str, Any]) -> Any:
    """Whether the exits are right on test images, from a file of answers."""
    return arrays["test.predictions"] == arrays["test.labels"][:, None]


def test_the_entropy_of_every_early_exit_is_told_where_its_teacher_is_wrong(
    finished: Path, document: dict[str, Any]
) -> None:
    for one in document["students"]:
        folder = finished / f"seed-{one['seed']}"
        teacher = right_in(load_file(folder / "teacher.safetensors"))
        ours = load_file(folder / one["method"] / "answers.safetensors")
        assert [row["exit"] for row in one["entropy_gaps"]] == [0, 1]
        for row in one["entropy_gaps"]:
            scores, wrong = ours["test.scores"][:, row["exit"]], ~teacher[:, row["exit"]]
            assert row["share_wrong"] == pytest.approx(wrong.mean())
            assert row["wrong"] == pytest.approx(scores[wrong].mean())
            assert row["right"] == pytest.approx(scores[~wrong].mean())
            assert row["gap"] == pytest.approx(row["wrong"] - row["right"])
            right = right_in(ours)[:, row["exit"]]
            assert row["accuracy_wrong"] == pytest.approx(right[wrong].mean())


def test_curves_have_both_ends_and_null_where_nothing_reaches(document: dict[str, Any]) -> None:
    for one in document["students"]:
        exits, points = one["exits"], one["points"]
        assert points[0]["cost"] == pytest.approx(one["least_cost"])
        assert points[0]["accuracy"] == pytest.approx(exits[0]["accuracy"])
        assert points[-1]["cost"] == pytest.approx(1)
        assert points[-1]["accuracy"] == pytest.approx(exits[-1]["accuracy"])
        assert one["least_cost"] == exits[0]["cumulative_macs"] / one["full_macs"]
        for budget, accuracy in zip(document["budgets"], one["at_budgets"], strict=True):
            assert (accuracy is None) == (budget < one["least_cost"])
        assert one["at_budgets"][-1] == pytest.approx(exits[-1]["accuracy"])


def test_the_evaluation_command_says_the_same_of_every_exit(
    finished: Path, document: dict[str, Any], json_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    student = document["students"][0]
    found = json_of("evaluate", student["bundle"], "--out", tmp_path, "--quiet")
    for theirs, ours in zip(found["exits"], student["exits"], strict=True):
        assert theirs["accuracy"] == ours["accuracy"]
        assert theirs["cumulative_macs"] == ours["cumulative_macs"]


def test_students_are_trained_with_their_own_seed(finished: Path) -> None:
    for seed in (3, 4):
        for path in finished.glob(f"seed-{seed}/**/bundle.json"):
            assert json.loads(path.read_text())["recipe"]["seed"] == seed


def test_a_comparison_of_a_newer_version_is_refused_by_name(
    copy: Path, tiny_recipe: Path, cli: Cli
) -> None:
    update_json(copy / "compare.json", format=9)
    code, _, err = cli("compare", tiny_recipe, "--seeds", 2, "--out", copy, *FEW)
    assert code == 2
    assert "got:      format 9" in err


def test_answers_of_other_weights_are_not_used(
    copy: Path, tiny_recipe: Path, cli: Cli, document: dict[str, Any]
) -> None:
    ours, theirs = (copy / f"seed-{seed}/erde/answers.safetensors" for seed in (3, 4))
    before = ours.read_bytes()
    shutil.copy(theirs, ours)
    code, out, err = cli("compare", tiny_recipe, "--seeds", 2, "--out", copy, "--json", *FEW)
    assert code == 0, err
    assert json.loads(out)["differences"] == document["differences"]
    assert ours.read_bytes() == before


def test_an_entropy_term_that_does_nothing_is_kd_to_the_byte(
    copy: Path, tiny_recipe: Path, cli: Cli
) -> None:
    """Students of a seed begin with the same weights and see the same batches."""
    shutil.rmtree(copy / "seed-4")
    code, _, err = cli(
        "compare", tiny_recipe, "--seeds", 1, "--out", copy, *FEW,
        "--set", "comparison.students="
        "[{name: nothing, distillation: {form: add, weights: {entropy: 0}}}]",
    )  # fmt: skip
    assert code == 0, err
    nothing = copy / "seed-3/nothing/student/model.safetensors"
    ours, theirs = load_file(nothing), load_file(copy / "seed-3/kd/student/model.safetensors")
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    alone = load_file(copy / "seed-3/cross_entropy/student/model.safetensors")
    assert not all(np.array_equal(alone[name], theirs[name]) for name in theirs)


def test_the_share_of_teacher_errors_is_told_of_all_splits(document: dict[str, Any]) -> None:
    for one in document["teachers"]:
        wrong = one["wrong"]
        assert wrong["test"] == pytest.approx([1 - exit_["accuracy"] for exit_ in one["exits"]])
        assert wrong["test"][-1] == pytest.approx(1 - one["accuracy"])
        assert 0 < wrong["train"][0] < 1  # a teacher of two epochs
        assert len(wrong["train"]) == len(wrong["calibration"]) == 3


def test_results_are_read_as_they_were_written(
    finished: Path, document: dict[str, Any], copy: Path, cli: Cli
) -> None:
    read = read_results(finished / "results.json").to_json()
    assert json.loads(json.dumps(read)) == document
    (copy / "results.json").write_text(json.dumps({**document, "budgets": [0.5]}))
    code, _, err = cli("report", copy, "--out", copy / "card.md")
    assert code == 2
    assert "lists of different lengths" in err
    assert not (copy / "card.md").exists()


def test_a_comparison_is_reported_with_all_methods_and_bands(
    finished: Path, document: dict[str, Any]
) -> None:
    found = of_comparison(finished)
    assert found.trade_off is not None
    curves = {one.name: one for one in found.trade_off.curves}
    assert [*curves] == [*document["methods"], "teacher"]
    for name in document["methods"]:
        networks = [one for one in document["students"] if one["method"] == name]
        last = np.mean([one["points"][-1]["accuracy"] for one in networks])
        assert curves[name].accuracy[-1] == pytest.approx(last)
        low, high = curves[name].low, curves[name].high
        assert low is not None
        assert high is not None
        assert (low <= curves[name].accuracy).all()
        assert (curves[name].accuracy <= high).all()
        assert low[-1] < high[-1] or len({one["points"][-1]["accuracy"] for one in networks}) == 1
    paired = next(one for one in found.tables if one.title == "Paired differences")
    assert paired.rows[0][0] == "erde − kd (primary)"
    assert paired.rows[0][-1] == document["primary"]["verdict"]
    text = (finished / "results.md").read_text()
    for table in found.tables:
        assert all("| " + " | ".join(row) + " |" in text for row in table.rows), table.title
    assert [one.role for one in found.training][:2] == ["cross_entropy, seed-3", "erde, seed-3"]
    assert (finished / "report.html").is_file()


def test_the_report_of_a_comparison_on_a_folder_names_only_its_last_part(copy: Path) -> None:
    data: dict[str, Any] = {"dataset": "imagefolder", "image_size": 8}
    for path in copy.glob("seed-*/*/student/bundle.json"):
        recipe = json.loads(path.read_text())["recipe"]
        update_json(path, recipe={**recipe, "data": {**data, "root": "/of/a/home/pictures"}})
    document = json.loads((copy / "results.json").read_text())
    telling = {"training": {"student": {"weights": "/of/a/home/weights.pth"}}}
    document["settings"] = {"kd": telling}
    (copy / "results.json").write_text(json.dumps(document))
    claimed = json.loads((copy / "compare.json").read_text())
    claimed["recipe"]["data"] = data  # it does not say where images lie
    (copy / "compare.json").write_text(json.dumps(claimed))
    whole = of_comparison(copy)
    assert Fact("only for kd", "training.student.weights=weights.pth") in whole.reproduce
    for found in (whole, _without_results(copy)):
        assert yaml.safe_load(found.recipe)["data"]["root"] == "pictures"
        assert "of/a/home" not in repr(found)


def _facts(found: ReportDocument) -> dict[str, str]:
    return {one.name: one.value for one in found.reproduce}


def _read_again(found: ReportDocument, path: Path) -> Recipe:
    """The recipe that the report shows, read as one that somebody copied."""
    path.write_text(found.recipe)
    return load_recipe(str(path))


def test_a_report_shows_all_students_of_a_recipe(tmp_path: Path) -> None:
    recipe = load_recipe("cifar10-evidence")
    (tmp_path / "cifar10-evidence.yaml").write_text(recipe_text(recipe))
    again = load_recipe(str(tmp_path / "cifar10-evidence.yaml"))
    assert len(again.comparison.students) == 7
    root = {"data": recipe.data.model_copy(update={"root": again.data.root})}
    assert again == recipe.model_copy(update=root)


def test_the_report_of_default_students_names_the_whole_command(
    finished: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    found = of_comparison(finished)
    assert _facts(found)["command"] == "erde compare tiny.yaml --seeds 2"
    place = ", in the folder that contains run"
    assert any("erde report run/seed-3/" in one and one.endswith(place) for one in found.missing)
    assert _read_again(found, tmp_path / "tiny.yaml") == load_recipe(str(tiny_recipe), FEW[1::2])


def _without_results(run: Path) -> ReportDocument:
    (run / "results.json").unlink()
    found = of_comparison(run)
    assert found.missing[0].startswith("Results: the comparison is not finished")
    assert found.training
    return found


def test_the_report_of_a_student_uses_the_answers_of_the_comparison(
    finished: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dataset, "load", lambda *_: pytest.fail("images are read"))
    student = document["students"][0]
    shown = of_bundle(Path(student["bundle"]), Options("cpu", 1), images=False)
    assert shown.classes is not None
    images = shown.classes.confusion[0].sum()
    for exit_, confusion in zip(student["exits"], shown.classes.confusion, strict=True):
        assert confusion.trace() / images == pytest.approx(exit_["accuracy"])
    assert shown.explorer is not None
    assert len(shown.explorer.scores) == document["calibration_images"]


def test_all_files_are_there_and_readable(finished: Path, document: dict[str, Any]) -> None:
    with (finished / "results.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["auc"]) for row in rows] == [one["auc"] for one in document["students"]]
    with Image.open(finished / "results.png") as image:
        assert min(image.size) > 500
    assert "<svg" in (finished / "results.svg").read_text()
    text = (finished / "results.md").read_text()
    assert "| erde − kd (primary) |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables if line.startswith("| method | AUC")} == {12}
    assert not list(finished.rglob(".*"))


def test_a_second_call_trains_nothing_and_says_the_same(
    copy: Path, tiny_recipe: Path, cli: Cli, document: dict[str, Any]
) -> None:
    before = files_of(copy)
    code, out, err = cli("compare", tiny_recipe, "--seeds", 2, "--out", copy, "--json", *FEW)
    assert code == 0, err
    assert err.count("nothing has changed, kept") == 8
    assert files_of(copy) == before
    again = json.loads(out)
    assert again["differences"] == document["differences"]
    assert again["summary"] == document["summary"]


def test_what_is_missing_is_made_again_and_the_same(
    copy: Path, tiny_recipe: Path, cli: Cli, document: dict[str, Any]
) -> None:
    shutil.rmtree(copy / "seed-4/kd")
    (copy / "seed-3/erde/answers.safetensors").write_bytes(b"damaged")
    before = files_of(copy)
    code, out, err = cli("compare", tiny_recipe, "--seeds", 2, "--out", copy, "--json", *FEW)
    assert code == 0, err
    assert err.count("nothing has changed, kept") == 7
    assert json.loads(out)["differences"] == document["differences"]
    after = files_of(copy)
    changed = [p for p in before if after[p] != before[p]]
    assert changed == [copy / "seed-3/erde/answers.safetensors"]


def test_a_stopped_comparison_goes_on(
    copy: Path, tiny_recipe: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch,
    document: dict[str, Any],
) -> None:  # fmt: skip
    shutil.rmtree(copy / "seed-4")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "distill", stop)
        code, _, err = cli("compare", tiny_recipe, "--seeds", 2, "--out", copy, *FEW)
        assert code == 130
        assert "type the same command to go on" in err
    code, out, err = cli("compare", tiny_recipe, "--seeds", 2, "--out", copy, "--json", *FEW)
    assert code == 0, err
    assert err.count("nothing has changed, kept") == 5  # four of seed 3, and the other teacher
    assert json.loads(out)["differences"] == document["differences"]


def test_a_failed_student_is_named_and_the_others_go_on(
    copy: Path, tiny_recipe: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copy / "seed-4/kd")

    def fail(*_: object, **__: object) -> None:
        raise TrainingError("The loss is not finite.")

    monkeypatch.setattr(module, "distill", fail)
    code, out, err = cli("compare", tiny_recipe, "--seeds", 2, "--out", copy, "--json", *FEW)
    assert code == 1
    assert "Seed 4, kd failed" in err
    found = json.loads(out)
    reason = "The loss is not finite."
    assert found["failed"] == [{"seed": 4, "method": "kd", "reason": reason}]
    assert found["primary"]["seeds"] == [3]
    assert (found["primary"]["interval"], found["primary"]["verdict"]) == (None, None)
    assert [one["seeds"] for one in found["summary"]] == [2, 1, 2]
    assert reason in (copy / "results.md").read_text()
    code, out, _ = cli("compare", tiny_recipe, "--seeds", 2, "--out", copy, *FEW, "-q")
    assert code == 1
    assert "failed: seed 4, kd" in out
    assert "one seed says nothing about others" in out


def test_where_no_student_can_be_trained_the_first_reason_is_told(
    tmp_path: Path, tiny_recipe: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TrainingError("The loss is not finite.")

    monkeypatch.setattr(module, "train_teacher", fail)
    code, _, err = cli(
        "compare", tiny_recipe, "--methods", "erde,kd", "--seeds", 1, "--out", tmp_path / "run"
    )
    assert code == 1
    assert "Error: The loss is not finite." in err


def test_one_teacher_can_serve_all_seeds(
    finished_run: Path, tiny_recipe: Path, tmp_path: Path, json_of: Callable[..., dict[str, Any]]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished_run.rglob("*")}
    teacher = finished_run / "teacher"
    found = json_of(
        "compare", tiny_recipe, "--methods", "kd,erde", "--seeds", 2, "--out", tmp_path / "run",
        "--teacher", teacher, "--quiet", *FEW,
    )  # fmt: skip
    assert found["shared_teacher"] == str(teacher)
    assert found["methods"] == ["kd", "erde"]
    assert (found["primary"]["a"], found["primary"]["b"]) == ("erde", "kd")
    assert found["primary"]["conditional_on_teacher"] is True
    assert {one["bundle"] for one in found["teachers"]} == {str(teacher)}
    assert not (tmp_path / "run/seed-3/teacher").exists()
    facts = _facts(of_comparison(tmp_path / "run"))
    again = "erde compare tiny.yaml --methods kd,erde --seeds 2 --teacher teacher"
    assert facts["command"] == again
    weights = json.loads((teacher / "bundle.json").read_text())["weights_digest"]
    assert facts["digest of the weights, shared teacher"] == weights
    unfinished = _facts(_without_results(tmp_path / "run"))
    assert unfinished["command"] == "erde compare tiny.yaml --seeds 2 --teacher BUNDLE"
    assert "once the comparison is done" in unfinished["students"]
    assert {p: p.stat().st_mtime_ns for p in finished_run.rglob("*")} == before


def test_a_student_that_joins_trains_alone_and_is_compared_with_every_method(
    copy: Path, tiny_recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    shutil.rmtree(copy / "seed-4")
    recipe = tiny_recipe.with_name("more.yaml")
    recipe.write_text(tiny_recipe.read_text() + MORE)
    code, out, err = cli("compare", recipe, "--seeds", 1, "--out", copy, "--json", *FEW)
    assert code == 0, err
    found = json.loads(out)
    assert found["methods"] == ["erde", "masked", "kd", "cross_entropy"]
    assert found["settings"] == {"masked": {"distillation": {"weights": {"entropy": 0}}}}
    assert err.count("nothing has changed, kept") == 4  # the list decides no other network
    pairs = [(one["a"], one["b"]) for one in found["differences"]]
    assert pairs[0] == ("erde", "kd")
    assert {("masked", "erde"), ("masked", "kd"), ("masked", "cross_entropy")} < set(pairs)
    assert len(pairs) == len(set(pairs)) == 6
    bundle = json.loads((copy / "seed-3/masked/student/bundle.json").read_text())
    assert bundle["recipe"]["distillation"]["weights"]["entropy"] == 0
    assert "comparison" not in bundle["recipe"]
    said = "Differing from the recipe: masked: distillation.weights.entropy=0."
    assert said in (copy / "results.md").read_text()
    assert "<!-- masked -->" in (copy / "results.svg").read_text()
    shown = of_comparison(copy)
    assert _facts(shown)["command"] == "erde compare more.yaml --seeds 1"
    again = _read_again(shown, tmp_path / "more.yaml")
    assert again == load_recipe(str(recipe), FEW[1::2])


def test_a_students_own_method_is_in_the_recipe_of_the_report(copy: Path, tmp_path: Path) -> None:
    """A student that is not named after a method has that of the recipe."""
    document = json.loads((copy / "results.json").read_text())
    text = json.dumps(document).replace('"cross_entropy"', '"colder"')
    settings = {"colder": {"distillation": {"temperature": 2}}}
    (copy / "results.json").write_text(json.dumps({**json.loads(text), "settings": settings}))
    for path in copy.glob("seed-*/cross_entropy"):
        path.rename(path.with_name("colder"))
        bundle = path.with_name("colder") / "student/bundle.json"
        recipe = json.loads(bundle.read_text())["recipe"]
        update_json(bundle, recipe={**recipe, "distillation": {"method": "kd"}})
    again = _read_again(of_comparison(copy), tmp_path / "own.yaml")
    assert again.distillation.method == "kd"
    assert [one.name for one in again.comparison.students] == ["erde", "kd", "colder"]
    assert again.comparison.students[2].distillation == {"temperature": 2}


def test_another_recipe_is_refused_and_the_differences_are_named(
    copy: Path, tiny_recipe: Path, finished_run: Path, cli: Cli
) -> None:
    code, _, err = cli("compare", tiny_recipe, "--seeds", 2, "--out", copy)
    assert code == 2
    assert "recipe.training.student.epochs: 1 there, 3 here" in err
    code, _, err = cli("compare", tiny_recipe, "--out", finished_run)
    assert code == 2
    assert "not part of a comparison" in err


def test_a_comparison_that_trained_nothing_binds_nobody(
    tmp_path: Path, tiny_recipe: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train_teacher", stop)
    for epochs in (1, 2):
        setting = f"training.student.epochs={epochs}"
        assert cli("compare", tiny_recipe, "--out", tmp_path / "run", "--set", setting)[0] == 130


def test_the_teachers_logits_are_computed_once_for_all_students_of_a_seed(
    tmp_path: Path, tiny_recipe: Path, cli: Cli
) -> None:
    code, _, err = cli(
        "compare", tiny_recipe, "--methods", "erde,kd", "--seeds", 1, "--out", tmp_path / "run",
        *FEW, "--set", "distillation.teacher_cache.views=1",
    )  # fmt: skip
    assert code == 0, err
    told = [line for line in err.splitlines() if "Teacher's logits" in line]
    assert ["all there" in line for line in told] == [False, True]


def test_the_tables_say_what_was_found(copy: Path, tiny_recipe: Path, cli: Cli) -> None:
    code, out, _ = cli("compare", tiny_recipe, "--seeds", 2, "--out", copy, "--quiet", *FEW)
    assert code == 0
    assert "erde − kd: " in out
    assert "95 % interval" in out
    assert "Everything else is descriptive." in out
    assert "0 of 2" in out
    assert "The paper's protocol:\nerde − kd, one θ for all" in out
    assert out.count("These intervals hold together (Bonferroni):") == 2
    text = (copy / "results.md").read_text()
    gaps = "Entropy at early exits where the teacher is wrong / right, nats"
    for said in ("Descriptive: E shifts entropies, so the same θ has another cost", gaps):
        assert said in out
        assert said in text
    table = text.split("Descriptive: E shifts")[1].split("\n\n")[1].splitlines()
    shown = [line.split(" | ")[0].removeprefix("| ") for line in table[2:]]
    tenths = [f"{j / 10 * np.log(10):.4f}" for j in range(1, 11)]
    assert shown == ["never", *tenths, "always"]
    assert {line.count("|") for line in table} == {8}


@pytest.fixture(scope="module")
def rivalled(
    finished: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    run = shutil.copytree(finished, tmp_path_factory.mktemp("rivals") / "run")
    arguments = ["--methods", "erde,kd,static", "--seeds", "2", "--out", str(run), "-q", *FEW]
    assert main(["compare", str(tiny_recipe), *arguments]) == 0
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    command = _facts(of_comparison(run))["command"]
    assert command == "erde compare tiny.yaml --methods erde,kd,static --seeds 2"
    return found


def test_static_rivals_are_no_students_and_have_no_early_exits(rivalled: dict[str, Any]) -> None:
    assert rivalled["methods"] == ["erde", "kd"]
    assert {one["method"] for one in rivalled["students"]} == {"erde", "kd"}
    full = rivalled["students"][0]["full_macs"]
    (rival,) = rivalled["static_rivals"]  # so narrow a student has one width for both
    assert rival["label"] == f"static-{100 * rival['macs'] / full:.0f}"
    for path in rival["bundles"]:
        document = json.loads((Path(path) / "bundle.json").read_text())
        assert document["architecture"]["cuts"] == []
        assert document["recipe"]["distillation"]["method"] == "kd"
        assert document["recipe"]["distillation"]["pairing"] == [2]  # the teacher's last


def test_rivals_cost_as_near_to_half_and_seven_tenths_as_a_width_comes() -> None:
    recipe = load_recipe("image-folder", ["student.stem=32", "student.stem_stride=1",
                                          "student.width=16", "data.image_size=32"])  # fmt: skip
    rivals = static_rivals(recipe, 10)
    assert [rival.name for rival in rivals] == ["static-48", "static-67"]
    assert [rival.recipe.student.width for rival in rivals] == [11, 13]
    assert [rival.recipe.student.stem for rival in rivals] == [22, 26]


def test_a_rival_meets_every_method_at_its_own_cost(rivalled: dict[str, Any]) -> None:
    rival = rivalled["static_rivals"][0]
    assert rival["seeds"] == [3, 4]
    assert [one["method"] for one in rival["against"]] == ["erde", "kd"]
    for against in rival["against"]:
        for place, seed in enumerate(rival["seeds"]):
            student = next(
                one for one in rivalled["students"]
                if (one["seed"], one["method"]) == (seed, against["method"])
            )  # fmt: skip
            costs = [point["cost"] * student["full_macs"] for point in student["points"]]
            shares = [point["accuracy"] for point in student["points"]]
            order = np.argsort(costs, kind="stable")
            there = np.interp(rival["macs"], np.array(costs)[order], np.array(shares)[order])
            assert against["accuracy"][place] == pytest.approx(there)
            difference = against["difference"]["of_seeds"][place]
            assert difference == pytest.approx(there - rival["accuracy"][place])
        low, high = against["difference"]["interval"]
        assert low < against["difference"]["mean"] < high


def test_rivals_stand_in_the_paper_and_on_the_screen(
    rivalled: dict[str, Any], tiny_recipe: Path, cli: Cli
) -> None:
    run = Path(rivalled["static_rivals"][0]["bundles"][0]).parents[2]
    text = (run / "results.md").read_text()
    assert "| rival | MACs | accuracy % |" in text
    assert text.count(f"| {rivalled['static_rivals'][0]['label']} |") == 2
    code, out, _ = cli(
        "compare", tiny_recipe, "--methods", "erde,kd,static", "--seeds", 2, "--out", run, *FEW,
        "--quiet",
    )  # fmt: skip
    assert code == 0
    assert "Static rivals" in out


def test_what_kd_alone_is_given_goes_to_the_static_rivals_as_well(
    copy: Path, tiny_recipe: Path, cli: Cli
) -> None:
    shutil.rmtree(copy / "seed-4")
    code, out, err = cli(
        "compare", tiny_recipe, "--seeds", 1, "--out", copy, "--json", *FEW, "--set",
        "comparison.students=[erde, {name: kd, distillation: {temperature: 5}}, static]",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found["methods"] == ["erde", "kd"]
    assert found["settings"] == {"kd": {"distillation": {"temperature": 5}}}
    temperatures = {
        path.parents[1].name: json.loads(path.read_text())["recipe"]["distillation"]["temperature"]
        for path in copy.glob("seed-3/*/student/bundle.json")
    }
    rival = found["static_rivals"][0]["label"]
    assert (temperatures["erde"], temperatures["kd"], temperatures[rival]) == (2, 5, 5)


@pytest.mark.parametrize("flag", ["--grid", "--vary"])
def test_a_retired_flag_is_answered_with_the_section_that_replaces_it(flag: str, cli: Cli) -> None:
    code, _, err = cli(
        "compare", "digits", "--methods", "erde,kd,static", flag, "distillation.temperature=2,9",
        flag, "distillation.weights.entropy=0.5,0",
        "--own", "kd:training.student.weight_decay=1e-3",
    )  # fmt: skip
    assert code == 2
    section = yaml.safe_load(err.partition("in the recipe\n")[2].partition("\n  next:")[0])
    students = section["comparison"]["students"]
    own = {"training": {"student": {"weight_decay": "1e-3"}}}
    hot = {"method": "kd", "temperature": 9}
    assert students[0] == "erde"
    assert students[-1] == "static"
    assert {"name": "kd", **own} in students
    assert {"name": "kd-temperature-9", "distillation": hot, **own} in students
    both = {"method": "erde", "temperature": 9, "weights": {"entropy": 0}}
    alone = {"method": "erde", "temperature": 9}
    changes = [one["distillation"] for one in students[1:] if isinstance(one, dict)
               and one["name"].startswith("erde")]  # fmt: skip
    assert (both in changes, alone in changes) == ((flag == "--grid"), (flag == "--vary"))
    listed = yaml.safe_dump(section["comparison"]["students"], default_flow_style=True)
    student_specs(load_recipe("digits", [f"comparison.students={listed}"]), "mine.yaml")
    assert "--methods erde,kd,static" in err


def test_odd_files_of_a_comparison_are_told_or_made_again(
    copy: Path, tiny_recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    odd = pickle.dumps(Payload(tmp_path / "owned"))
    again = ("compare", tiny_recipe, "--seeds", 2, "--out", copy, "--json", "-q", *FEW)
    answers, logs = list(copy.rglob("*.safetensors")), list(copy.rglob("metrics.jsonl"))
    answers = [path for path in answers if path.name != "model.safetensors"]
    before = {path: path.read_bytes() for path in answers}
    digest = _digest_in(answers[0])
    save_file(
        {name: array[:1] for name, array in load_file(answers[0]).items()}, answers[0], digest
    )
    for path in (*answers[1:], *logs):
        path.write_bytes(odd)
    code, _, err = cli(*again)
    assert (code, "Traceback" in err) == (0, False)
    assert {path: path.read_bytes() for path in answers} == before
    for path in logs:
        path.write_text("[" * 100_000)
    assert cli(*again)[0] == 0
    for content in (odd, b"[]", b'{"recipe": 1, "teacher": null}', b"[" * 100_000):
        (copy / "compare.json").write_bytes(content)
        code, _, err = cli(*again)
        assert (code, "Traceback" in err, "next:" in err) == (2, False, True)
    assert not (tmp_path / "owned").exists()


def _digest_in(path: Path) -> dict[str, str]:
    with safe_open(path, "np") as file:
        return dict(file.metadata())
