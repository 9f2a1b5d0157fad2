"""`erde predict` through the real command line: what is found, what is said, what goes on."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from erde_cli.commands.views import predict as prediction_rows
from erde_cli.commands.views import terminal
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.errors import InputError
from erde_cli.core.images import decoders
from erde_cli.core.images.named_paths import Named, named_images
from erde_cli.core.workflows import predict as workflow
from erde_cli.core.workflows.open_model import open_model
from erde_cli.core.workflows.options import Options

from ..conftest import Cli, JsonOf
from ..edited import edit_json, update_json

ROOT = Path(__file__).parents[2]
ROW = {"path", "class_name", "label", "confidence", "entropy", "exit", "macs"}
TOTALS = {
    "images", "failed", "seconds", "images_per_second", "exit_rates", "expected_macs",
    "cumulative_macs", "full_macs", "macs_saved", "thresholds", "target", "certified", "runtime",
}  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path, digit_files: Path) -> Path:
    """Four images, one of them deeper down."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "c.png", "more/d.png")):
        shutil.copy(digit_files / f"0/00{number}.png", folder / name)
    return folder


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


def names(found: dict[str, Any]) -> list[str]:
    return [Path(row["path"]).name for row in found["images"]]


def test_predictions_are_what_evaluate_says_of_the_same_images(
    student: Path, digit_files: Path, json_of: JsonOf
) -> None:
    for theta in (2.2, 2.27):
        json_of("calibrate", student, "--threshold", theta)
        evaluation = json_of("evaluate", student)
        found = json_of("predict", student, digit_files)
        labels = open_dataset(load_bundle(student).recipe.data).load("test").labels.tolist()
        right = [row["label"] == label for row, label in zip(found["images"], labels, strict=True)]
        totals = found["totals"]
        assert np.mean(right) == pytest.approx(evaluation["accuracy"])
        assert totals["exit_rates"] == pytest.approx(
            [row["exit_rate"] for row in evaluation["exits"]]
        )
        assert totals["expected_macs"] == pytest.approx(evaluation["expected_macs"])
        assert totals["cumulative_macs"] == [row["cumulative_macs"] for row in evaluation["exits"]]
        assert totals["thresholds"] == evaluation["thresholds"]


def test_json_has_the_documented_keys(student: Path, photos: Path, json_of: JsonOf) -> None:
    found = json_of("predict", student, photos)
    assert set(found) == {"images", "failed", "totals"}
    assert {frozenset(row) for row in found["images"]} == {frozenset(ROW)}
    assert set(found["totals"]) == TOTALS
    documented = next(
        line for line in (ROOT / "docs/json.md").read_text().splitlines() if "| `predict`" in line
    )
    for key in ROW | TOTALS | {"images", "failed", "totals", "reason"}:
        assert re.search(rf"\b{key}\b", documented), key


def test_macs_sum_up_to_the_expected_macs(
    student: Path, digit_files: Path, json_of: JsonOf
) -> None:
    json_of("calibrate", student, "--threshold", 2.27)
    found = json_of("predict", student, digit_files)
    totals, spent = found["totals"], [row["macs"] for row in found["images"]]
    assert len(set(spent)) > 1
    assert totals["expected_macs"] == pytest.approx(np.mean(spent))
    assert totals["macs_saved"] == pytest.approx(1 - np.mean(spent) / totals["full_macs"])
    for row in found["images"]:
        assert row["macs"] == totals["cumulative_macs"][row["exit"]]
    assert sum(totals["exit_rates"]) == pytest.approx(1)
    assert totals["images_per_second"] == pytest.approx(totals["images"] / totals["seconds"])


def test_files_folders_patterns_and_lists(
    student: Path, photos: Path, json_of: JsonOf, listed: Callable[[bytes], None]
) -> None:
    (photos / "notes.txt").write_text("no image")
    (photos / ".hidden.png").write_bytes((photos / "a.png").read_bytes())
    (photos / "round").symlink_to(photos)
    b, more = photos / "b.png", photos / "more"
    for paths, expected in [
        ((photos,), "abcd"),
        ((more, b, b), "dbb"),
        ((photos / "*.png",), "abc"),
        ((photos / "[bc].png", more / "?.png"), "bcd"),
        ((photos / "**/*.png",), "abcd"),
        ((photos / "**" / "d.png",), "d"),
        ((photos / "mo*",), "d"),
    ]:
        found = json_of("predict", student, *paths)
        assert names(found) == [f"{name}.png" for name in expected], paths
    listed(f"{b}\n\n{more}\r\n{photos / 'a.png'}".encode())
    assert names(json_of("predict", student, "-", photos / "c.png")) == [
        f"{name}.png" for name in "bdac"
    ]


def test_frames_are_sorted_as_people_count(
    student: Path, photos: Path, json_of: JsonOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered = [
        "cam1/frame9.png", "cam2/frame1.png", "cam2/frame2.png", "cam2/frame10.png",
        "cam10/2-9.png", "cam10/2-10.png", "cam10/002-11.png", "cam10/10-1.png",
        "cam10/" + "9" * 200 + ".png",
    ]  # fmt: skip
    for name in sorted(ordered):
        (photos / "cams" / name).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(photos / "a.png", photos / "cams" / name)
    monkeypatch.chdir(photos)
    for pattern in ("cams", "cams/cam*", "cams/*/*.png", "cams/**/*.png", "cams/**"):
        found = json_of("predict", student, pattern)
        assert [row["path"].removeprefix("cams/") for row in found["images"]] == ordered, pattern
    for number in ("1", "01", "001"):  # the same number: by characters, wherever they lie
        shutil.copy("a.png", f"more/{number}.png")
    assert names(json_of("predict", student, "more")) == ["001.png", "01.png", "1.png", "d.png"]


def test_a_mark_at_the_head_of_a_list_is_no_part_of_its_first_path(
    student: Path, photos: Path, json_of: JsonOf, listed: Callable[[bytes], None]
) -> None:
    listed(b"\xef\xbb\xbf" + f"{photos / 'a.png'}\r\n{photos / 'b.png'}\r\n".encode())
    assert names(json_of("predict", student, "-")) == ["a.png", "b.png"]


def test_a_pattern_is_a_name_where_there_is_a_file_of_that_name(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = photos / "[a].png"
    shutil.copy(photos / "a.png", odd)
    assert list(named_images([str(odd)])) == [Named(str(odd))]
    monkeypatch.chdir(photos)
    assert [one.path for one in named_images(["*.png"])] == ["[a].png", "a.png", "b.png", "c.png"]
    assert [one.path for one in named_images(["**"])] == [
        "[a].png", "a.png", "b.png", "c.png", "more/d.png",
    ]  # fmt: skip
    assert [one.path for one in named_images(["**/**/more/**/*.png"])] == ["more/d.png"]
    assert [one.path for one in named_images([".", "./more/"])] == [
        "./[a].png", "./a.png", "./b.png", "./c.png", "./more/d.png", "./more/d.png",
    ]  # fmt: skip


def test_rows_and_totals_are_shown_in_line(student: Path, photos: Path, cli: Cli) -> None:
    code, out, err = cli("predict", student, photos)
    assert (code, err) == (0, "Predicting\n")
    lines = out.splitlines()
    assert lines[0].split() == ["path", "class", "confidence", "%", "exit", "entropy,", "nats"]
    rows = lines[1:5]
    assert [row.split()[0] for row in rows] == [
        str(photos / name) for name in ("a.png", "b.png", "c.png", "more/d.png")
    ]
    assert {len(line) for line in lines[:5]} == {len(lines[0])}
    assert all(re.search(r"  \d  +\d+\.\d\d    [123] of 3  +\d\.\d{4}$", row) for row in rows)
    assert "4 images, " in out
    assert "images/s" in out
    assert "not certified" in out


def test_what_a_terminal_would_obey_is_shown_and_not_obeyed(
    student: Path, photos: Path, cli: Cli, json_of: JsonOf
) -> None:
    names = [f"[red]{number}" for number in range(10)]
    update_json(student / "bundle.json", class_names=names)
    odd = ["[bold]a.png", "\x1b[31mb.png", "new\nline.png", "猫.png", "‮.png"]
    for name in odd:
        shutil.copy(photos / "a.png", photos / name)
    (photos / "[link=x]\x1b[31mno.png").write_text("no image")
    code, out, err = cli("predict", student, photos)
    assert code == 1
    assert "\x1b" not in out + err
    assert "‮" not in out + err
    for shown in (r"[bold]a.png", r"\x1b[31mb.png", r"new\nline.png", "猫.png", "[red]"):
        assert shown in out, shown
    assert r"[link=x]\x1b[31mno.png" in err.replace("\n", "")
    code, out, _ = cli("predict", student, photos, "--json")
    assert {row["path"].rpartition("/")[2] for row in json.loads(out)["images"]} >= set(odd)


def test_a_file_that_is_no_image_is_told_and_the_rest_goes_on(
    student: Path, photos: Path, tmp_path: Path, cli: Cli
) -> None:
    good = cli("predict", student, photos, "--json")[1]
    (photos / "b0.png").write_text("no image")
    code, out, err = cli("predict", student, photos, "nowhere.png", "--json")
    found = json.loads(out)
    assert code == 1
    assert found["images"] == json.loads(good)["images"]
    reasons = {row["path"]: row["reason"] for row in found["failed"]}
    assert set(reasons) == {str(photos / "b0.png"), "nowhere.png"}
    assert "UnidentifiedImageError" in reasons[str(photos / "b0.png")]
    assert "No such file" in reasons["nowhere.png"]
    assert (found["totals"]["images"], found["totals"]["failed"]) == (4, 2)
    assert err.count("Warning") == 2

    code, out, err = cli("predict", student, photos, "-q")
    assert code == 1
    assert "b0.png: UnidentifiedImageError" in err.replace("\n", "")
    assert "4 images, 1 failed" in out
    assert out.count("of 3  ") == 4

    code, out, _ = cli("predict", student, photos, "--csv", tmp_path / "rows.csv")
    assert code == 1
    assert "a.png" not in out
    assert "4 images, 1 failed" in out
    with (tmp_path / "rows.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    expected = [{key: str(value) for key, value in row.items()} for row in found["images"]]
    assert rows == expected


def test_where_no_file_is_an_image_nothing_is_made_up(
    student: Path, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "no.png").write_text("no image")
    code, out, _ = cli("predict", student, tmp_path / "no.png", "--json")
    found = json.loads(out)
    assert code == 1
    assert found["images"] == []
    totals = found["totals"]
    assert (totals["images"], totals["failed"]) == (0, 1)
    assert [totals[key] for key in ("exit_rates", "expected_macs", "macs_saved")] == [None] * 3
    code, out, _ = cli("predict", student, tmp_path / "no.png")
    assert code == 1
    assert "0 images, 1 failed" in out


def test_one_threshold_for_this_time(student: Path, photos: Path, json_of: JsonOf) -> None:
    before = (student / "thresholds.json").read_bytes()
    for word, exit_ in (("always", 0), ("never", 2)):
        found = json_of("predict", student, photos, "--threshold", word)
        assert {row["exit"] for row in found["images"]} == {exit_}
        totals = found["totals"]
        assert totals["thresholds"] == [word, word]
        assert totals["certified"] is False
        assert totals["expected_macs"] == totals["cumulative_macs"][exit_]
    assert found["totals"]["macs_saved"] == 0
    assert (student / "thresholds.json").read_bytes() == before
    (student / "thresholds.json").unlink()
    assert len(json_of("predict", student, photos, "--threshold", 0.5)["images"]) == 4


def edited(student: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    edit_json(student / "thresholds.json", edit)


def test_another_stored_point_for_this_time(
    student: Path, photos: Path, json_of: JsonOf, cli: Cli
) -> None:
    json_of("calibrate", student, "--max-drop", 2)
    before = (student / "thresholds.json").read_bytes()
    picked = [
        json_of("predict", student, photos, "--pick", f"max-macs={ratio}")["totals"]
        for ratio in (1, 0.5)
    ]
    assert (student / "thresholds.json").read_bytes() == before
    assert picked[0]["thresholds"] != picked[1]["thresholds"]
    assert picked[1]["target"]["how"] == "picked"
    for ratio, totals in zip((1, 0.5), picked, strict=True):
        json_of("calibrate", student, "--pick", f"max-macs={ratio}")
        stored = json.loads((student / "thresholds.json").read_text())
        assert totals["thresholds"] == stored["thresholds"]
        assert totals["certified"] is stored["certified"] is False
    code, _, err = cli("predict", student, photos, "--pick", "max-macs=0.01")
    assert code == 0
    assert "No stored point meets --max-macs 0.01" in err


def test_a_pick_is_certified_where_the_promise_covers_it(
    student: Path, photos: Path, json_of: JsonOf, cli: Cli
) -> None:
    found = json_of("calibrate", student, "--max-risk", 0.3)
    assert found["certified"] is True
    assert json_of("predict", student, photos)["totals"]["certified"] is True
    assert "are certified" in cli("predict", student, photos)[1]
    for pick, certified in (("max-macs=1", True), ("max-risk=0.4", True), ("max-macs=0.5", False)):
        totals = json_of("predict", student, photos, "--pick", pick)["totals"]
        assert totals["certified"] is certified, pick
    assert json_of("predict", student, photos, "--threshold", 0)["totals"]["certified"] is False
    assert "not certified" in cli("predict", student, photos, "--pick", "max-macs=0.5")[2]


def test_paths_are_taken_as_they_are_needed(
    student: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "_FILES_AT_ONCE", 4)
    monkeypatch.setattr(decoders, "cores", lambda: 1)
    taken, most = 0, 0
    written = 0

    def paths() -> Iterator[Named]:
        nonlocal taken, most
        for _ in range(300):
            taken += 1
            most = max(most, taken - written)
            yield Named(str(photos / "a.png"))

    def write(rows: workflow.Rows) -> None:
        nonlocal written
        written += len(rows.paths)

    totals = workflow.predict_images(
        student, paths(), Options(), write, workflow.PredictRequest(batch=2)
    )
    assert totals.images == written == taken == 300
    assert most <= 9


def test_processes_decode_ahead_once_that_pays(
    student: Path, digit_files: Path, monkeypatch: pytest.MonkeyPatch, json_of: JsonOf
) -> None:
    expected = json_of("predict", student, digit_files)["images"]
    monkeypatch.setattr(decoders, "_PAYS_FROM", 1e-6)
    monkeypatch.setattr(decoders, "_FILES_AT_ONCE", 16)
    monkeypatch.setattr(decoders, "cores", lambda: 2)
    here = []
    real = decoders.decode_files
    monkeypatch.setattr(
        decoders, "decode_files", lambda *more: here.append(len(more[0])) or real(*more)
    )
    found = json_of("predict", student, digit_files, "--batch", 10)["images"]
    assert here == [20]  # a multiple of the batch
    assert [(row["path"], row["label"], row["exit"]) for row in found] == [
        (row["path"], row["label"], row["exit"]) for row in expected
    ]


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_several_workers_write_what_one_writes(
    student: Path, digit_files: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli,
    runtime: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(decoders, "_FILES_AT_ONCE", 16)  # several chunks
    (photos / "b0.png").write_text("no image")
    given = ("predict", student, photos, "nowhere.png", digit_files, "--threads", 1, "--batch", 3,
             "--json", "--runtime", runtime)  # fmt: skip
    started = []
    real = workflow.answers_at_once
    monkeypatch.setattr(
        workflow, "answers_at_once", lambda *more: started.append(more[-1]) or real(*more)
    )
    one, several = (json.loads(cli(*given, *more)[1]) for more in ((), ("--workers", 3)))
    assert len(several["images"]) > 48
    assert several["images"] == one["images"]
    assert several["failed"] == one["failed"] != []
    assert several["totals"]["exit_rates"] == one["totals"]["exit_rates"]
    assert started == [1, 3]


def test_threads_are_shared_by_the_workers(
    student: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    asked = []
    monkeypatch.setattr(decoders, "cores", lambda: 8)
    monkeypatch.setattr(
        workflow, "open_model", lambda *more: asked.append(more[-1].threads) or open_model(*more)
    )
    for more in (("--workers", 3), ("--workers", 16), ("--workers", 3, "--threads", 5), ()):
        assert cli("predict", student, photos, *more)[0] == 0
    assert asked == [2, 1, 5, None]


def test_workers_are_for_the_cpu(student: Path, photos: Path) -> None:
    context = SimpleNamespace(device=torch.device("cuda"), threads=1)
    gpu = SimpleNamespace(context=lambda _: context)
    with pytest.raises(InputError, match="CPU") as caught:
        workflow.predict_images(
            student, [Named(str(photos / "a.png"))], gpu, print, workflow.PredictRequest(workers=2)
        )
    assert "--workers 2 on cuda" in str(caught.value.got)


def test_an_error_under_way_stands_in_the_one_object(
    student: Path, digit_files: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(decoders, "_PAYS_FROM", 1e-6)
    monkeypatch.setattr(decoders, "_FILES_AT_ONCE", 16)
    monkeypatch.setattr(decoders, "_SERVE", "import os; os._exit(3)")
    monkeypatch.setattr(decoders, "cores", lambda: 2)
    rows = tmp_path / "rows.csv"
    code, out, err = cli("predict", student, digit_files, "--json", "--csv", rows, "--batch", 8)
    assert code == 1
    found = json.loads(out)
    assert set(found) == {"images", "failed", "error"}
    assert len(found["images"]) >= 16
    assert "decodes images died" in found["error"]["message"]
    assert "decodes images died" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    code, out, _ = cli("predict", student, "nowhere.png", "--json")
    assert set(json.loads(out)) == {"error"}


def test_only_so_many_failures_are_kept(
    student: Path, photos: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_rows, "_LISTED", 3)
    missing = [photos / f"{number}.png" for number in range(5)]
    found = json.loads(cli("predict", student, photos, *missing, "--json")[1])
    assert len(found["failed"]) == 3
    assert found["totals"]["failed"] == 5


def test_json_and_csv_together_have_the_same_rows(
    student: Path, photos: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    odd = photos / os.fsdecode(b'\xff,".png')
    shutil.copy(photos / "a.png", odd)
    found = json_of("predict", student, photos, "--csv", tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="", errors="surrogateescape") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["path"] for row in rows] == [row["path"] for row in found["images"]]
    assert str(odd) in [row["path"] for row in rows]
    assert list(rows[0]) == list(prediction_rows.COLUMNS)


def test_ctrl_c_leaves_no_csv_behind(student: Path, photos: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("older")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "erde_cli", "predict", str(student), "-", "--json",
            "--csv", str(rows), "--threads", "1", "--batch", "8",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what is read ahead would be lost to communicate()
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{photos / 'a.png'}\n".encode() * 600)
    process.stdin.flush()
    begun = process.stdout.read(12)
    assert list(tmp_path.glob(".erde-new-*"))
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err
    found = json.loads(begun + rest)
    assert found["error"]["exit_code"] == 130
    assert found["images"]
    assert rows.read_text() == "older"
    assert not list(tmp_path.glob(".erde-new-*"))


def test_a_reader_that_has_seen_enough_is_no_error(student: Path, photos: Path) -> None:
    command = f"{sys.executable} -m erde_cli predict {student} {f'{photos} ' * 300} -q | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("path")
    assert done.stderr == ""


def test_progress_is_a_bar_where_the_end_is_known_and_a_count_elsewhere(
    student: Path, photos: Path
) -> None:
    told: list[tuple[object, ...]] = []

    class Watching(terminal.Observer):
        def progress(self, title: str, done: int, total: int) -> None:
            told.append((done, total))

        def count(self, title: str, done: int) -> None:
            told.append((done,))

    for total in (None, 4):
        images = named_images([str(photos)])
        options = Options(observer=Watching())
        workflow.predict_images(
            student, images, options, lambda rows: None, workflow.PredictRequest(total=total)
        )
    assert told == [(4,), (4, 4), (4, 4)]


def test_the_examples_of_the_page_run(
    finished_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    page = (ROOT / "docs/predict.md").read_text()
    shutil.copytree(finished_run, tmp_path / "runs/digits")
    shutil.copy(photos / "a.png", tmp_path / "a.jpg")
    shutil.copy(photos / "b.png", tmp_path / "b.png")
    shutil.copy(photos / "a.png", photos / "e.jpg")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/predict.md", "exec"), names)  # noqa: S102
    lines = re.findall(r"^\$ erde ((?:predict|export) [^#|\n]*)", page, re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        code, out, err = cli(*shlex.split(line))
        assert (code, bool(out)) == (0, True), (line, err)
