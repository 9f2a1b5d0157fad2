"""What `erde report` reads can come from strangers: it is named and left out, or refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from erde_cli.core.report.collect.training import training
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.report_sources import of_run

from ..conftest import Cli

OPTIONS = Options("cpu", 1)
LINES = (
    "", "null", "[1]", '{"loss": 1}', '{"epoch": "1"}', '{"epoch": NaN}',
    f'{{"epoch": {10**400}}}', "[" * 100_000, '{"epoch": 1, "epoch": 2}',
)  # fmt: skip


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:20])
def test_an_odd_log_is_named_and_left_out(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"epoch": 1}}\n{line}\n')
    found, missing = training(tmp_path, "student")
    assert found is None
    assert missing == ["Training of the student: metrics.jsonl cannot be read."]


def test_a_log_of_odd_values_becomes_few_curves_of_numbers(tmp_path: Path) -> None:
    row = {
        "epoch": 1, "<img>" * 1000: 1, "text": "no number", "yes": True, "deep": {"a": [1]},
        "huge": 10**400, "many": [1.0] * 100_000,
    }  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row))
    found, missing = training(tmp_path, "student")
    assert not missing
    assert found is not None
    assert len(found.curves) == 200
    assert max(len(one.name) for one in found.curves) < 120
    curves = {one.name: one for one in found.curves}
    assert np.isnan(curves["huge"].values).all()
    assert np.isnan(curves["text"].values).all()


def test_a_long_log_is_thinned_evenly(tmp_path: Path) -> None:
    rows = [{"epoch": epoch, "loss": [1.0] * 10} for epoch in range(1, 1001)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for values, points in ((8_000, 200), (1_100, 100), (100, 20)):
        found, _ = training(tmp_path, "student", values)
        assert found is not None
        assert {len(one.values) for one in found.curves} == {points}
        assert len(set(np.diff(found.curves[0].epochs))) == 1


def test_answers_of_another_network_under_a_digest_of_their_own_are_not_used(
    run_copy: Path,
) -> None:
    path = run_copy / "student/evaluation/test/answers.safetensors"
    arrays = load_file(path)
    wider = {**arrays, "test.scores": np.tile(arrays["test.scores"], (1, 2))}
    for made in (wider, {"a": np.zeros(1)}):
        save_file(made, path, {"digest": "0 0"})
        shown = of_run(run_copy, OPTIONS, images=False)
        assert shown.classes is None
        assert any(one.startswith("Answers of the student to test") for one in shown.missing)


def test_a_name_of_a_recipe_is_text_in_a_card(run_copy: Path, cli: Cli) -> None:
    card = run_copy / "card.md"
    odd = "erde report ```\n# x"
    (run_copy / "logs/teacher/metrics.jsonl").write_text(json.dumps({"epoch": 1, odd: 1}))
    code, _, err = cli("report", run_copy, "--out", card)
    assert code == 0, err
    assert "\n# x" not in card.read_text()
