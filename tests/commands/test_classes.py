"""What `erde evaluate` and `erde run` say of each class."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from erde_cli.commands.views.tables import comparison_table, evaluation_table, weakest_table
from erde_cli.core.workflows.report_format import is_report

from ..conftest import Cli

CLASS_KEYS = {"class_name", "images", "recall", "precision", "exit_rates", "expected_macs"}


def rows_of(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def test_every_class_is_in_the_json_and_makes_up_the_whole(report: dict[str, Any]) -> None:
    """Adaptive answers count, as in `accuracy`; the teacher's are the last exit's."""
    for role in ("teacher", "student"):
        found = report[role]
        rows = found["classes"]
        assert [row["class_name"] for row in rows] == [str(digit) for digit in range(10)]
        assert set(rows[0]) == CLASS_KEYS
        right = sum(row["images"] * row["recall"] for row in rows)
        assert right / found["images"] == pytest.approx(found["accuracy"])
        cost = sum(row["images"] * row["expected_macs"] for row in rows)
        assert cost / found["images"] == pytest.approx(found["expected_macs"])
        mean = sum(row["recall"] for row in rows) / 10
        assert found["balanced_accuracy"] == pytest.approx(mean)


def test_the_tables_as_csv_say_the_same(finished_run: Path, report: dict[str, Any]) -> None:
    folder = finished_run / "student/evaluation/test"
    head, *rows = rows_of(folder / "classes.csv")
    assert head[:5] == ["class_name", "images", "recall", "precision", "expected_macs"]
    assert head[5:] == ["exit_rate_0", "exit_rate_1", "exit_rate_2"]
    for row, found in zip(rows, report["student"]["classes"], strict=True):
        assert row[0] == found["class_name"]
        assert [float(cell) for cell in row[5:]] == found["exit_rates"]
    head, *matrix = rows_of(folder / "confusion.csv")
    assert head == ["true_class", *(str(digit) for digit in range(10))]
    for label, row in enumerate(matrix):
        found = report["student"]["classes"][label]
        assert row[0] == found["class_name"]
        counts = [int(cell) for cell in row[1:]]
        assert sum(counts) == found["images"]
        assert counts[label] / sum(counts) == found["recall"]


@pytest.mark.parametrize("command", ["run", "evaluate"])
def test_the_five_weakest_classes_are_shown(
    command: str, run_copy: Path, tiny_recipe: Path, report: dict[str, Any], cli: Cli
) -> None:
    arguments = (
        ("evaluate", run_copy / "student") if command == "evaluate"
        else ("run", tiny_recipe, "--out", run_copy)
    )  # fmt: skip
    code, out, err = cli(*arguments)
    assert code == 0, err
    part = out.partition("The 5 weakest classes")[2].partition("└")[0]
    shown = [line.split("│")[1].strip() for line in part.splitlines() if line.startswith("│")]
    weakest = sorted(report["student"]["classes"], key=lambda row: row["recall"])[:5]
    assert shown == [row["class_name"] for row in weakest]
    assert "balanced" not in out  # 33 to 37 images of each class


def uneven(images: list[int]) -> dict[str, Any]:
    """An evaluate object with so many images of each class, a third of them right."""
    rows = [
        {"class_name": f"[red]c{i}$", "images": count, "recall": 1 / 3 if count else None,
         "precision": None, "exit_rates": [0.5, 0.5] if count else None,
         "expected_macs": 5.0 if count else None}
        for i, count in enumerate(images)
    ]  # fmt: skip
    exits = [{"exit": i, "accuracy": 0.5, "exit_rate": 0.5, "cumulative_macs": 9} for i in (0, 1)]
    return {
        "classes": rows, "balanced_accuracy": 1 / 3, "accuracy": 0.5, "expected_macs": 9.0,
        "thresholds": None, "exits": exits, "full_accuracy": 0.5, "static_macs": 9.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("images", "shown"), [([4, 8], False), ([4, 9], True), ([0, 4], False), ([0, 1, 4], True)]
)
def test_balanced_accuracy_stands_below_accuracy_where_classes_are_uneven(
    images: list[int], shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    found = uneven(images)
    for made in (
        evaluation_table("x", found, "nats"),
        comparison_table({"teacher": found, "student": found}, (8, 8)),
    ):  # fmt: skip
        Console(width=200).print(made)
        out = capsys.readouterr().out
        assert ("balanced" in out) == ("33.33" in out) == shown
    Console(width=200).print(weakest_table(found))
    out = capsys.readouterr().out
    assert f"[red]c{len(images) - 1}$" in out
    assert ("c0$" in out) == bool(images[0])


def test_a_folder_without_a_class_is_evaluated(
    digit_files: Path, run_copy: Path, tmp_path: Path, json_of: Callable[..., dict[str, Any]]
) -> None:
    pictures = sorted(digit_files.rglob("*.png"))[:9]
    for index, picture in enumerate(pictures):
        place = tmp_path / "own" / ("3" if index < 3 else "7") / picture.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, place)
    found = json_of("evaluate", run_copy / "student", "--data", tmp_path / "own")
    assert [row["images"] for row in found["classes"]] == [0, 0, 0, 3, 0, 0, 0, 6, 0, 0]
    assert {row["recall"] for row in found["classes"] if not row["images"]} == {None}


@pytest.mark.parametrize(
    "change",
    [
        {"recall": 2}, {"recall": None}, {"exit_rates": None}, {"images": -1},
        {"class_name": "\x1b[2J"}, {"more": 1},
    ],
)  # fmt: skip
def test_a_report_with_other_classes_is_none(
    change: dict[str, Any], report: dict[str, Any]
) -> None:
    assert is_report(report)
    damaged = json.loads(json.dumps(report))
    damaged["student"]["classes"][0].update(change)
    assert not is_report(damaged)
    del damaged["student"]["classes"]
    assert not is_report(damaged)
