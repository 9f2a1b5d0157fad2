"""`erde calibrate`: targets, frontier and picks, temperatures, promises, other images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from erde_cli import load
from erde_cli.core.calibration.halves import halves
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.device import make_context
from erde_cli.core.inference.answers import answer_all, ready

from ..conftest import Cli, JsonOf
from ..edited import edit_json

FIGURES = {
    "accuracy", "full_accuracy", "balanced_accuracy", "full_balanced_accuracy", "agreement",
    "expected_macs", "expected_latency", "exit_rates",
}  # fmt: skip
CALIBRATE_KEYS = {
    "thresholds", "target", "met", "images", "accuracy", "full_accuracy", "expected_macs",
    "exit_rates", "held_out", "agreement", "expected_latency", "format", "criterion", "unit",
    "temperatures", "met_where_chosen", "certified", "source", "split_fingerprint", "precision",
    "weights_digest", "exit_accuracy", "exit_balanced_accuracy", "balanced_accuracy",
    "full_balanced_accuracy", "device", "seal", "half_b_exits", "latency",
    "frontier", "certificate", "temperature",
}  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value"), [("--threshold", 0.4), ("--max-drop", 3), ("--max-macs", 0.7)]
)
def test_calibrate_gives_the_documented_keys_and_writes_thresholds(
    run_copy: Path, json_of: JsonOf, option: str, value: float
) -> None:
    student = run_copy / "student"
    weights = (student / "model.safetensors").read_bytes()
    found = json_of("calibrate", student, option, value)
    assert set(found) == CALIBRATE_KEYS
    assert set(found["held_out"]) == FIGURES
    assert set(found["frontier"][0]) == {
        *FIGURES, "thresholds", "held_out", "certified", "bounds", "half_b_exits",
    }  # fmt: skip
    assert found["target"]["value"] == value
    assert found["met_where_chosen"] is True
    assert found["certified"] is False
    assert sum(found["half_b_exits"]) == 72
    assert found["images"] == 144
    written = json.loads((student / "thresholds.json").read_text())
    assert written["thresholds"] == found["thresholds"]
    assert written["precision"] == "float32"
    assert (student / "model.safetensors").read_bytes() == weights
    evaluated = json_of("evaluate", student, "--split", "calibration")
    assert evaluated["accuracy"] == found["accuracy"]
    assert evaluated["expected_macs"] == pytest.approx(found["expected_macs"])
    assert json_of("profile", student)["expected_macs"] == found["expected_macs"]


def test_a_threshold_for_each_exit_is_the_same_in_every_command(
    run_copy: Path, digit_files: Path, cli: Cli, json_of: JsonOf
) -> None:
    student = run_copy / "student"
    kept = (student / "evaluation/test/evaluation.json").read_bytes()
    for thetas in ([2.2, 2.27], ["never", 2.2], [2.25, "always"]):
        text = ",".join(map(str, thetas))
        given = json_of("evaluate", student, "--threshold", text)
        predicted = json_of("predict", student, digit_files, "--threshold", text)["totals"]
        assert (student / "evaluation/test/evaluation.json").read_bytes() == kept
        found = json_of("calibrate", student, "--threshold", text)
        assert found["thresholds"] == found["target"]["value"] == thetas
        assert found["held_out"]["accuracy"] == found["accuracy"]
        evaluated = json_of("evaluate", student)
        kept = (student / "evaluation/test/evaluation.json").read_bytes()
        assert evaluated.pop("drift") is not None
        assert given.pop("drift") is None
        assert given == evaluated
        rates = [row["exit_rate"] for row in evaluated["exits"]]
        assert predicted["exit_rates"] == pytest.approx(rates)
        assert predicted["thresholds"] == predicted["target"]["value"] == thetas
        assert predicted["certified"] is False
    _, out, _ = cli("calibrate", student, "--threshold", text)
    assert "θ 2.25, always" in out
    assert "You set θ yourself" in out
    assert (student / "evaluation/test-threshold/evaluation.json").is_file()


@pytest.mark.parametrize(("value", "rates"), [("always", [1, 0, 0]), ("never", [0, 0, 1])])
def test_the_two_ends_of_the_threshold_have_written_forms(
    run_copy: Path, json_of: JsonOf, value: str, rates: list[float]
) -> None:
    found = json_of("calibrate", run_copy / "student", "--threshold", value)
    assert found["thresholds"] == [value, value]
    assert found["exit_rates"] == rates
    evaluated = json_of("evaluate", run_copy / "student")
    assert [row["exit_rate"] for row in evaluated["exits"]] == rates
    assert evaluated["thresholds"] == [value, value]


def test_a_target_that_cannot_be_met_is_told_plainly_and_is_no_error(
    run_copy: Path, json_of: JsonOf, cli: Cli
) -> None:
    found = json_of("calibrate", run_copy / "student", "--max-macs", 0.01)
    assert found["met"] is False
    assert found["exit_rates"] == [1, 0, 0]
    code, out, _ = cli("calibrate", run_copy / "student", "--max-macs", 0.01)
    assert code == 0
    assert "cannot be met" in out


@pytest.fixture
def folder(student: Path, tmp_path: Path) -> Path:
    """The test digits as a user's own folder, `<class>/*.png`."""
    bundle = load(student)
    store = open_dataset(bundle.recipe.data).load("test")
    for number, (pixels, label) in enumerate(zip(store.images, store.labels, strict=True)):
        inside = tmp_path / "mine" / bundle.class_names[int(label)]
        inside.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.numpy()).save(inside / f"{number}.png")
    return tmp_path / "mine"


def test_min_accuracy_takes_the_cheapest_that_is_accurate_enough(
    student: Path, json_of: JsonOf
) -> None:
    full = json_of("calibrate", student, "--threshold", "never")["accuracy"]
    found = json_of("calibrate", student, "--min-accuracy", full - 0.1)
    assert found["accuracy"] >= full - 0.1
    assert found["target"]["kind"] == "min_accuracy"
    assert found["expected_macs"] < json_of("calibrate", student, "--max-drop", 0)["expected_macs"]


def test_max_latency_is_measured_here_and_kept(student: Path, json_of: JsonOf) -> None:
    found = json_of("calibrate", student, "--max-latency", 1000)
    assert found["latency"]["batch"] == 1
    assert found["latency"]["device"] == "cpu"
    assert len(found["latency"]["ms"]) == 3
    rates = zip(found["exit_rates"], found["latency"]["ms"], strict=True)
    assert found["expected_latency"] == pytest.approx(sum(rate * ms for rate, ms in rates))
    assert found["met_where_chosen"] is True
    too_little = json_of("calibrate", student, "--max-latency", 1e-6)
    assert too_little["met"] is False
    picked = json_of("calibrate", student, "--pick", "max-latency=1000")
    assert picked["expected_latency"] <= 1000


def test_a_point_is_picked_from_the_frontier_without_any_image(
    student: Path, json_of: JsonOf, cli: Cli
) -> None:
    frontier = json_of("calibrate", student, "--max-drop", 2)["frontier"]
    gone = {"dataset": "imagefolder", "root": "/nowhere"}
    edit_json(student / "bundle.json", lambda document: document["recipe"]["data"].update(gone))
    assert cli("calibrate", student, "--max-drop", 2)[0] == 2  # no images any more
    full = json_of("profile", student)["full_macs"]
    picked = json_of("calibrate", student, "--pick", "max-macs=0.7")
    within = [point for point in frontier if point["expected_macs"] <= 0.7 * full]
    best = max(within, key=lambda point: float(point["accuracy"]))
    assert picked["thresholds"] == best["thresholds"]
    assert picked["held_out"] == best["held_out"]
    assert picked["met"] == (best["held_out"]["expected_macs"] <= 0.7 * full)
    assert picked["frontier"] == frontier
    assert picked["target"]["how"] == "picked"
    assert picked["certified"] is False
    written = load(student).thresholds()
    assert written is not None
    assert written.thresholds == best["thresholds"]


def test_temperatures_are_fitted_told_and_travel_with_the_thresholds(
    student: Path, json_of: JsonOf, cli: Cli
) -> None:
    plain = json_of("calibrate", student, "--max-drop", 2)
    assert plain["temperature"] is None
    assert plain["temperatures"] is None
    found = json_of("calibrate", student, "--max-drop", 2, "--temperature")
    assert len(found["temperatures"]) == 3
    assert all(value != 1 for value in found["temperatures"])
    told = found["temperature"]
    assert [one["temperature"] for one in told["exits"]] == found["temperatures"]
    assert set(told["exits"][0]) == {
        "temperature", "nll_before", "nll_after", "ece_before", "ece_after",
    }  # fmt: skip
    assert told["without"]["held_out"] == plain["held_out"]
    assert len(told["frontier"]) == len(plain["frontier"])
    assert found["exit_accuracy"] == plain["exit_accuracy"]  # no label changes
    evaluated = json_of("evaluate", student, "--split", "calibration")
    assert evaluated["accuracy"] == found["accuracy"]
    assert [row["exit_rate"] for row in evaluated["exits"]] == pytest.approx(found["exit_rates"])
    _, out, _ = cli("calibrate", student, "--max-drop", 2, "--temperature")
    assert "Temperature scaling, cross-fitted on the tuning half" in out
    assert "Without temperatures the same target gives" in out


def test_temperatures_are_fitted_on_half_a_alone(
    student: Path, json_of: JsonOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from erde_cli.core.workflows import calibration_images as module

    seen: list[Any] = []
    real = module.temperature_reports

    def spy(logits: Any, labels: Any) -> Any:
        seen.append(labels)
        return real(logits, labels)

    monkeypatch.setattr(module, "temperature_reports", spy)
    json_of("calibrate", student, "--max-macs", 0.7, "--temperature")
    dataset = open_dataset(load(student).recipe.data)
    half_a, _ = halves(144, dataset.fingerprint)
    [labels] = seen
    np.testing.assert_array_equal(labels, dataset.load("calibration").labels.numpy()[half_a])


def test_a_promise_is_written_with_its_terms(student: Path, json_of: JsonOf, cli: Cli) -> None:
    found = json_of("calibrate", student, "--max-risk", 0.3)
    certificate = found["certificate"]
    assert found["certified"] is found["met"] is True
    assert certificate["risk"] == "disagreement"
    assert certificate["confidence"] == 0.9
    assert certificate["images"] == 72
    assert certificate["rejected"] >= 1
    assert certificate["observed"] == pytest.approx(1 - found["agreement"])
    assert found["exit_rates"] == pytest.approx([count / 72 for count in found["half_b_exits"]])
    covered = [point["certified"] for point in found["frontier"]]
    assert covered == [True] * (certificate["rejected"] + 1) + [False] * (
        certificate["tested"] - certificate["rejected"]
    )
    assert found["exit_accuracy"][-1] == found["full_accuracy"]  # all of half B
    deployed = found["frontier"][certificate["rejected"]]
    assert deployed["thresholds"] == found["thresholds"]
    for point in found["frontier"]:
        assert point["bounds"]["disagreement"] >= 1 - point["agreement"] - 1e-12
    _, out, _ = cli("calibrate", student, "--max-risk", 0.3)
    for part in (
        "with probability 0.9 or more",
        "at most 30 %",
        "per class",
        "near-duplicates",
    ):
        assert part in certificate["statement"]
    lines = out.splitlines()
    what = next(place for place, line in enumerate(lines) if line.startswith("Promised: "))
    observed = f"{100 * certificate['observed']:.2f} %"
    assert "at most 30 % of images get a label other" in lines[what]
    assert f"(observed: {observed})" in lines[what]
    assert lines[what + 1].startswith("With probability 0.9 or more over the draw of the 72 images")
    assert "docs/guarantee.md" in lines[what + 2]
    assert lines[what + 3].startswith("picture: ")


def test_picks_keep_the_promise_only_among_what_it_covers(
    student: Path, json_of: JsonOf, cli: Cli
) -> None:
    found = json_of("calibrate", student, "--max-risk", 0.3)
    full = json_of("profile", student)["full_macs"]
    within = json_of("calibrate", student, "--pick", "max-macs=1")
    assert within["certified"] is True
    # Cheaper candidates lose no more than 100 points either: covered ones come first.
    cautious = json_of("calibrate", student, "--pick", "max-drop=100")
    assert cautious["certified"] is True
    cheapest = min(point["expected_macs"] for point in found["frontier"] if point["certified"])
    assert cautious["expected_macs"] == cheapest
    assert cheapest > min(point["expected_macs"] for point in found["frontier"])
    beyond = (cheapest + found["frontier"][-1]["expected_macs"]) / 2 / full
    code, out, err = cli("calibrate", student, "--pick", f"max-macs={beyond}")
    assert code == 0
    assert "not certified" in err
    assert "Not certified" in out
    bounds = [point["bounds"]["disagreement"] for point in found["frontier"]]
    afterwards = json_of("calibrate", student, "--pick", f"max-risk={bounds[1]}")
    assert afterwards["certified"] is True
    assert afterwards["expected_macs"] == min(
        point["expected_macs"]
        for point, bound in zip(found["frontier"], bounds, strict=True)
        if bound <= bounds[1]
    )


def test_a_promise_that_cannot_be_made_says_what_it_would_take(
    student: Path, json_of: JsonOf, cli: Cli
) -> None:
    found = json_of("calibrate", student, "--max-risk", 0.01)
    assert found["met"] is found["certified"] is False
    assert found["thresholds"] == ["never", "never"]
    assert found["certificate"]["least_images"] == 230
    assert found["exit_rates"] == [0, 0, 1]
    assert "at least 230 images" in found["certificate"]["statement"]
    _, out, _ = cli("calibrate", student, "--max-risk", 0.01)
    assert "Nothing is promised: every image goes to the last exit." in out
    assert "72 images do not show a risk of at most 1 % with confidence 0.9." in out
    wanted = found["certificate"]["images_wanted"]
    takes = "at least 230 images" if wanted is None else f"about {wanted:,} images"
    assert takes in out


def test_a_smaller_risk_never_saves_more(student: Path, json_of: JsonOf) -> None:
    for risk in ("disagreement", "accuracy-gap"):
        costs = [
            json_of("calibrate", student, "--max-risk", epsilon, "--risk", risk)["expected_macs"]
            for epsilon in (0.02, 0.1, 0.4)
        ]
        assert costs == sorted(costs, reverse=True)


def test_a_bundle_tuned_on_all_of_its_calibration_images_promises_nothing_on_them(
    student: Path, folder: Path, cli: Cli
) -> None:
    edit_json(student / "bundle.json", lambda d: d["recipe"]["calibration"].update(tuned_on="all"))
    code, _, err = cli("calibrate", student, "--max-risk", 0.3)
    assert code == 2
    assert "was tuned on all calibration images" in err
    assert "--data FOLDER" in err
    assert cli("calibrate", student, "--max-risk", 0.3, "--data", folder)[0] == 0
    assert cli("calibrate", student, "--max-drop", 1)[0] == 0


def test_a_users_own_labelled_images_calibrate(
    student: Path, folder: Path, json_of: JsonOf
) -> None:
    found = json_of("calibrate", student, "--max-drop", 2, "--data", folder)
    assert found["source"] == "labelled folder"
    assert found["images"] == 359
    inside = folder.parent / "parts"
    inside.mkdir()
    folder.rename(inside / "calibration")
    again = json_of("calibrate", student, "--max-drop", 2, "--data", inside)
    assert again["split_fingerprint"] == found["split_fingerprint"]
    folder = inside / "calibration"
    evaluated = json_of("evaluate", student, "--data", folder)
    assert evaluated["accuracy"] == found["accuracy"]
    assert evaluated["agreement"] == found["agreement"] < 1
    assert evaluated["drift"]["drifted"] is False


def test_images_without_labels_suffice_for_agreement(
    student: Path, folder: Path, json_of: JsonOf, cli: Cli
) -> None:
    labelled = json_of("calibrate", student, "--max-risk", 0.2, "--data", folder)
    found = json_of("calibrate", student, "--max-risk", 0.2, "--images", folder)
    assert found["source"] == "unlabelled folder"
    assert found["accuracy"] is found["full_accuracy"] is found["exit_accuracy"] is None
    # The same images, in other halves: what labels are there is part of what a split is known by.
    assert labelled["certificate"]["images"] == found["certificate"]["images"]
    assert min(labelled["certificate"]["rejected"], found["certificate"]["rejected"]) >= 1
    assert found["frontier"][1]["bounds"]["accuracy_gap"] is None
    within = json_of("calibrate", student, "--max-macs", 0.7, "--images", folder)
    assert within["met_where_chosen"] is True
    assert within["agreement"] > 0.5
    code, out, _ = cli("calibrate", student, "--max-macs", 0.7, "--images", folder)
    assert code == 0
    assert "unlabelled folder" in out
    code, _, err = cli("calibrate", student, "--pick", "max-drop=1")
    assert code == 2
    assert "no labels" in err


def test_other_images_than_those_calibrated_on_are_told(
    student: Path, digit_files: Path, tmp_path: Path, json_of: JsonOf, cli: Cli
) -> None:
    json_of("calibrate", student, "--max-macs", 0.7)
    assert json_of("evaluate", student)["drift"]["drifted"] is False
    # Other images: those alone that leave at the exit which fewest leave at.
    bundle, files = load(student), sorted(digit_files.rglob("*.png"))
    exits = [found.exit for found in bundle.predict(files)]
    rarest = min(set(exits), key=exits.count)
    rare = [file for file, exit_ in zip(files, exits, strict=True) if exit_ == rarest][:20]
    for name in bundle.class_names:
        (tmp_path / "rare" / name).mkdir(parents=True)
        for file in rare:
            shutil.copy(file, tmp_path / "rare" / name)
    code, out, err = cli("evaluate", student, "--data", tmp_path / "rare", "--json")
    moved = json.loads(out)["drift"]
    assert code == 0
    assert moved["drifted"] is True
    assert moved["p_value"] < 0.01
    assert moved["total_variation"] > 0.02
    assert "differ from the calibration images" in err
    assert f"leave at exit {moved['exit'] + 1}" in err or "reach the last exit" in err


def test_the_frontier_is_drawn(student: Path, cli: Cli) -> None:
    code, out, _ = cli("calibrate", student, "--max-drop", 1)
    assert code == 0
    assert str(student / "frontier.png") in out.replace("\n", "")
    first = (student / "frontier.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    cli("calibrate", student, "--max-risk", 0.3)
    assert (student / "frontier.png").read_bytes() != first
    cli("calibrate", student, "--max-drop", 1)
    assert (student / "frontier.png").read_bytes() == first


def test_training_shows_the_accuracy_on_half_a_alone(
    tiny_recipe: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    found = json_of(
        "train-teacher", tiny_recipe, "--out", tmp_path, "--set", "training.teacher.epochs=1"
    )
    bundle = load(tmp_path / "teacher")
    dataset = open_dataset(bundle.recipe.data)
    store = dataset.load("calibration")
    half_a, half_b = halves(len(store), dataset.fingerprint)
    context = make_context("cpu", "float32", memory_format="channels_last")
    model = ready(bundle.model, context)
    on_a = answer_all(model, store.only(np.sort(half_a)), bundle.normalisation, context)
    on_all = answer_all(model, store, bundle.normalisation, context)
    assert found["accuracy_calibration"] == on_a.accuracy
    assert found["accuracy_calibration"] != on_all.accuracy
    np.testing.assert_array_equal(on_a.scores, on_all.scores[np.sort(half_a)])
    logged = json.loads((tmp_path / "logs/teacher/metrics.jsonl").read_text().splitlines()[-1])
    assert len(logged["accuracy_calibration"]) == 3
    count = len(half_a)
    for share in logged["accuracy_calibration"]:
        assert round(share * count) == pytest.approx(share * count)
    assert sorted([*half_a, *half_b]) == list(range(len(store)))
