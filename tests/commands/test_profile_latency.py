"""`erde profile --latency` through the real command line."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import erde_cli
from erde_cli.core.workflows.latency import image_places

from ..conftest import Cli, JsonOf
from ..edited import edit_json, update_json

QUICK = ("--latency", "--batch", "1,16", "--repeats", 3, "--threads", 1)
TIMING = {"median_ms", "p5_ms", "p95_ms", "batch_median_ms", "calls"}


@pytest.fixture
def measured(student: Path, json_of: JsonOf) -> dict[str, Any]:
    json_of("calibrate", student, "--max-macs", 0.8)
    return json_of("profile", student, *QUICK)


def test_the_documented_keys_and_sane_figures(measured: dict[str, Any], student: Path) -> None:
    assert set(measured) == {
        "input_shape", "parameters", "full_macs", "static_macs", "expected_macs", "exits",
        "latency", "verdict",
    }  # fmt: skip
    latency = measured["latency"]
    assert set(latency) == {
        "runtime", "device", "precision", "threads", "repeats", "split", "exit_accuracy", "weights",
        "batches", "picture",
    }  # fmt: skip
    assert (latency["precision"], latency["threads"], latency["repeats"]) == ("float32", 1, 3)
    assert latency["split"] == "calibration"
    file = student / "model.safetensors"
    assert latency["weights"]["file_bytes"] == file.stat().st_size
    assert 0 < latency["weights"]["placed_bytes"] <= file.stat().st_size
    assert [one["batch"] for one in latency["batches"]] == [1, 16]
    for one in latency["batches"]:
        assert set(one) == {
            "batch", "images", "distinct_images", "exits", "increasing", "mix", "peak_bytes",
        }  # fmt: skip
        assert one["images"] % one["batch"] == 0
        assert [exit_["exit"] for exit_ in one["exits"]] == [0, 1, 2]
        for exit_ in one["exits"]:
            assert set(exit_) == {"exit", "static", "over_static", *TIMING}
            assert set(exit_["static"]) == TIMING
            assert 0 < exit_["p5_ms"] <= exit_["median_ms"] <= exit_["p95_ms"]
            assert exit_["batch_median_ms"] == pytest.approx(exit_["median_ms"] * one["batch"])
    small, large = (one["peak_bytes"] for one in latency["batches"])
    assert large == pytest.approx(16 * small, rel=0.3)


def test_the_mix_is_that_of_the_calibration_split_at_the_thresholds(
    measured: dict[str, Any], student: Path, json_of: JsonOf
) -> None:
    whole = json_of("evaluate", student, "--split", "calibration")
    rates = [row["exit_rate"] for row in whole["exits"]]
    assert 0 < rates[-1] < 1
    one, sixteen = measured["latency"]["batches"]
    assert one["distinct_images"] == one["images"] == whole["images"]  # all fit into one pass
    assert one["mix"]["exit_rates"] == pytest.approx(rates)
    assert sixteen["images"] == whole["images"] // 16 * 16
    assert sixteen["mix"]["exit_rates"] == pytest.approx(rates, abs=0.1)
    for found in (one, sixteen):
        mix = found["mix"]
        medians = [exit_["median_ms"] for exit_ in found["exits"]]
        assert mix["expected_ms"] == pytest.approx(np.dot(mix["exit_rates"], medians))
        assert mix["expected_share"] == pytest.approx(mix["expected_ms"] / medians[-1])
        assert mix["end_to_end_share"] == pytest.approx(mix["end_to_end_ms"] / medians[-1])
        macs = [exit_["cumulative_macs"] for exit_ in measured["exits"]]
        share = np.dot(mix["exit_rates"], macs) / measured["full_macs"]
        assert mix["macs_share"] == pytest.approx(share)
        assert mix["ratio"] == pytest.approx(mix["expected_share"] / share)
        alone = [exit_["static"]["median_ms"] for exit_ in found["exits"]]
        assert mix["expected_alone_ms"] == pytest.approx(np.dot(mix["exit_rates"], alone))
        assert [exit_["over_static"] for exit_ in found["exits"]] == pytest.approx(
            [median / alone[-1] for median in medians]
        )
        static = mix["static"]
        assert static["expected_share"] == pytest.approx(mix["expected_ms"] / alone[-1])
        assert static["end_to_end_share"] == mix["over_static"][-1]
        share = np.dot(mix["exit_rates"], macs) / measured["static_macs"]
        assert static["macs_share"] == pytest.approx(share)
        assert static["ratio"] == pytest.approx(static["expected_share"] / share)
    expected = measured["expected_macs"] / measured["full_macs"]
    assert one["mix"]["macs_share"] == pytest.approx(expected)


def test_temperatures_are_part_of_the_mix(student: Path, json_of: JsonOf) -> None:
    json_of("calibrate", student, "--max-macs", 0.8)
    document = json.loads((student / "thresholds.json").read_text())
    less_sure = [3.0, 3.0, 3.0]  # fewer leave early
    update_json(student / "thresholds.json", temperatures=less_sure)
    whole = json_of("evaluate", student, "--split", "calibration")
    rates = [row["exit_rate"] for row in whole["exits"]]
    assert rates[-1] > document["exit_rates"][-1]
    one = json_of("profile", student, *QUICK)["latency"]["batches"][0]
    assert one["mix"]["exit_rates"] == pytest.approx(rates)


def test_the_verdict_is_fed_by_the_calibration_split(
    measured: dict[str, Any], student: Path, json_of: JsonOf
) -> None:
    whole = json_of("evaluate", student, "--split", "calibration")
    accuracy = [row["accuracy"] for row in whole["exits"]]
    verdict = measured["verdict"]
    assert measured["latency"]["exit_accuracy"] == pytest.approx(accuracy)
    assert [row["accuracy"] for row in verdict["exits"]] == pytest.approx(accuracy)
    thresholds = json.loads((student / "thresholds.json").read_text())
    assert verdict["accuracy"] == thresholds["held_out"]["accuracy"]
    assert verdict["expected_macs"] == thresholds["held_out"]["expected_macs"]
    exits = measured["exits"]
    alone = [
        sum(exit_["stage_macs"] for exit_ in exits[: index + 1]) + exits[index]["head_macs"]
        for index in range(3)
    ]
    assert [row["static_macs"] for row in verdict["exits"]] == alone
    assert alone[-1] == measured["static_macs"]
    assert [row["batch"] for row in verdict["batches"]] == [1, 16]
    for row, one in zip(verdict["batches"], measured["latency"]["batches"], strict=True):
        assert row["share_of_static_latency"] == pytest.approx(one["mix"]["over_static"][-1])
        rough = one["mix"]["end_to_end_ms"] / one["exits"][0]["static"]["median_ms"]
        assert one["mix"]["over_static"][0] == pytest.approx(rough, rel=1)
    assert verdict["better"] is (verdict["by_macs"] and verdict["by_latency"])


def test_never_leaving_early_is_worse_than_the_last_exit_alone(
    student: Path, json_of: JsonOf
) -> None:
    json_of("calibrate", student, "--threshold", "never")
    found = json_of("profile", student, *QUICK)
    assert found["verdict"]["by_macs"] is False
    assert found["verdict"]["sentence"].startswith(("No: ", "By MACs no"))
    assert found["latency"]["batches"][0]["mix"]["exit_rates"] == [0, 0, 1]


def test_the_tables_the_verdict_and_the_picture_are_shown(
    student: Path, tmp_path: Path, cli: Cli
) -> None:
    code, out, err = cli("profile", student, *QUICK, "--out", tmp_path / "p")
    assert code == 0, err
    for words in ("Leaving at each exit, ms per image", "1 thread", "At the thresholds", "p95",
                  "% of the static network", "exits alone",
                  "weights: ", "better than any one exit alone? ", "picture: "):  # fmt: skip
        assert words in out
    assert "Measuring latency at batch 16" in err
    with Image.open(tmp_path / "p/profile.png") as image:
        assert image.format == "PNG"
    assert list((tmp_path / "p").iterdir()) == [tmp_path / "p/profile.png"]


def test_the_picture_lies_in_the_bundle_which_still_loads(
    measured: dict[str, Any], student: Path
) -> None:
    assert measured["latency"]["picture"] == str(student / "profile/profile.png")
    assert (student / "profile/profile.png").is_file()
    erde_cli.load(student)


def test_without_latency_nothing_is_measured_and_no_image_is_needed(
    student: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    moved = tmp_path / "student"
    shutil.copytree(student, moved)
    gone = {"dataset": "imagefolder", "root": "/nowhere"}
    edit_json(moved / "bundle.json", lambda document: document["recipe"]["data"].update(gone))
    found = json_of("profile", moved)
    assert found["latency"] is None
    assert found["verdict"]["by_latency"] is None  # by MACs, from what calibration stored
    assert found["verdict"]["sentence"].startswith(("Yes: ", "No: "))


def test_a_bundle_without_thresholds_has_exits_and_no_mix(
    finished_run: Path, tmp_path: Path, json_of: JsonOf, cli: Cli
) -> None:
    arguments = ("profile", finished_run / "teacher", *QUICK, "--out", tmp_path)
    found = json_of(*arguments)
    assert found["verdict"] is None
    assert [one["mix"] for one in found["latency"]["batches"]] == [None, None]
    code, out, _ = cli(*arguments)
    assert code == 0
    assert "Better than" not in out


def test_the_precision_is_that_of_the_thresholds(student: Path, json_of: JsonOf) -> None:
    json_of("calibrate", student, "--max-macs", 0.8, "--precision", "bfloat16")
    found = json_of("profile", student, *QUICK)
    assert found["latency"]["precision"] == "bfloat16"


def test_a_batch_larger_than_the_split_is_filled_by_showing_images_again(
    student: Path, json_of: JsonOf
) -> None:
    found = json_of("profile", student, "--latency", "--batch", 256, "--repeats", 3)
    (one,) = found["latency"]["batches"]
    assert one["images"] == 256 > one["distinct_images"]


@pytest.mark.parametrize(
    ("count", "side", "batch", "wanted"),
    [
        (5000, 32, 1, 256),
        (5000, 32, 32, 1024),
        (5000, 32, 256, 1024),
        (100, 32, 32, 96),
        (100, 32, 256, 256),
        (5000, 224, 32, 256),  # memory is bounded
        (5000, 1024, 32, 32),
    ],
)
def test_the_images_of_a_pass_are_whole_batches_and_always_the_same(
    count: int, side: int, batch: int, wanted: int
) -> None:
    places = image_places(count, side, batch)
    assert len(places) == wanted
    assert places.tolist() == image_places(count, side, batch).tolist()
    assert len(set(places.tolist())) == min(count, wanted)
    assert places.max() < count
    assert count < 1000 or places.max() > math.sqrt(count)  # drawn from the whole split
