"""`erde profile --latency --runtime onnx` through the real command line."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from erde_cli.core.events import Observer
from erde_cli.core.measurement import profile_plot
from erde_cli.core.workflows import latency as workflow

from ..conftest import Cli, JsonOf
from ..edited import update_json

Opened = list[tuple[str, int]]
FILES = {"exit0.onnx", "exit1.onnx", "exit2.onnx"}
ONNX = ("--latency", "--runtime", "onnx", "--repeats", 3, "--threads", 1)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Names and threads of the sessions that are opened."""
    found: Opened = []
    real = onnxruntime.InferenceSession

    def open_session(path: Path, options: Any, **more: Any) -> Any:
        found.append((path.name, options.intra_op_num_threads))
        return real(path, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)
    return found


def test_the_same_figures_are_measured_through_onnx_runtime(
    student: Path, opened: Opened, json_of: JsonOf
) -> None:
    json_of("calibrate", student, "--max-macs", 0.8)
    whole = json_of("evaluate", student, "--split", "calibration")
    found = json_of("profile", student, *ONNX, "--batch", "1,16")
    assert {threads for _, threads in opened} == {1}
    assert FILES | {"model.onnx", "stage0.onnx", "stage2.onnx"} <= {name for name, _ in opened}
    latency = found["latency"]
    assert (latency["runtime"], latency["device"], latency["threads"]) == ("onnx", "cpu", 1)
    assert latency["weights"]["placed_bytes"] is None
    accuracy = [row["accuracy"] for row in whole["exits"]]
    assert latency["exit_accuracy"] == pytest.approx(accuracy)
    rates = [row["exit_rate"] for row in whole["exits"]]
    assert 0 < rates[-1] < 1
    assert [one["batch"] for one in latency["batches"]] == [1, 16]
    for one in latency["batches"]:
        assert one["peak_bytes"] is None
        assert one["mix"]["exit_rates"] == pytest.approx(rates, abs=0 if one["batch"] == 1 else 0.1)
        medians = [exit_["median_ms"] for exit_ in one["exits"]]
        assert one["mix"]["expected_ms"] == pytest.approx(np.dot(one["mix"]["exit_rates"], medians))
        for exit_ in one["exits"]:
            assert 0 < exit_["p5_ms"] <= exit_["median_ms"] <= exit_["p95_ms"]
            assert exit_["static"]["median_ms"] > 0
    assert [one["batch"] for one in found["verdict"]["batches"]] == [1, 16]


def test_table_and_picture_name_the_runtime_and_say_what_is_not_measured(
    student: Path, opened: Opened, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []

    def draw(path: Path, picture: profile_plot.ProfilePicture, observer: Observer) -> Path | None:
        titles.append(picture.title)
        return profile_plot.draw_profile(path, picture, observer)

    monkeypatch.setattr(workflow, "draw_profile", draw)
    code, out, err = cli("profile", student, *ONNX, "--batch", 1, "--out", tmp_path)
    assert code == 0, err
    assert "(ONNX Runtime, float32, 1 thread)" in out
    assert titles[0].endswith("(ONNX Runtime, float32, 1 thread)")
    assert "not known (ONNX Runtime does not report it)" in out
    (mix,) = [line for line in out.splitlines() if line.startswith("│ 1 ") and "of 3" not in line]
    assert mix.rstrip(" │").endswith(" -")
    assert "Is early exit better than any one exit alone?" in out
    with Image.open(tmp_path / "profile.png") as image:
        assert image.format == "PNG"
    assert err.count("Exporting") == 1  # only what the batch size needs
    names = {name for name, _ in opened if not name.startswith(".")}
    assert names == FILES | {"model.onnx"}  # single images: the file that stops early


def test_what_cannot_be_exported_cannot_be_timed(student: Path, tmp_path: Path, cli: Cli) -> None:
    shutil.copytree(student, tmp_path / "student")
    path = tmp_path / "student/thresholds.json"
    update_json(path, precision="bfloat16")
    code, _, err = cli("profile", tmp_path / "student", *ONNX)
    assert code == 2
    assert "computes in float32" in err.replace("\n", " ")
    path.unlink()
    code, _, err = cli("profile", tmp_path / "student", *ONNX)
    assert code == 2
    assert "has no thresholds" in err
