"""docs/evidence.md shows what the kept answers give, which are compared once all are there."""

import json
from pathlib import Path

import pytest

from benchmarks.evidence import FIRST, MOST, show_results
from benchmarks.evidence_answers import TEACHER, A, B

ROOT = Path(__file__).parents[1]
ANSWERS = ROOT / "benchmarks" / "answers"
SEEDS = range(FIRST, FIRST + MOST)


def test_no_result_is_computed_before_the_last_seed_is_there(tmp_path: Path) -> None:
    for seed in SEEDS[:-1]:
        (tmp_path / str(seed)).mkdir()
        for name in ("teacher", "erde", "kd"):
            (tmp_path / str(seed) / f"{name}.safetensors").touch()
    with pytest.raises(SystemExit, match="missing: 40/teacher, 40/erde, 40/kd"):
        show_results(tmp_path, SEEDS, as_json=False)


@pytest.mark.slow
@pytest.mark.skipif(not ANSWERS.is_dir(), reason="a source distribution leaves the answers out")
def test_the_evidence_shows_what_the_kept_answers_give(capsys: pytest.CaptureFixture[str]) -> None:
    show_results(ANSWERS, SEEDS, as_json=True)
    found = json.loads(capsys.readouterr().out)
    page = (ROOT / "docs" / "evidence.md").read_text("utf-8").replace("−", "-")
    rows = [
        [name, mean, interval, f"{float(p_value):.2f}", verdict, of_seeds]
        for name, mean, interval, _, p_value, verdict, of_seeds in found["primaries"]
    ]
    rows += found["exits"]
    rows += [row[2:] for row in found["others"] if row[0] not in (TEACHER, A, B)]
    rows += [row[1:] for row in found["ratios"] if row[-1] != "-"]
    assert len(rows) > 2 + 6
    for row in rows:
        assert any(all(one in line for one in row) for line in page.splitlines()), row
