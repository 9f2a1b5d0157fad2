"""The report of a real run in a real Chromium: its figures are those of the other commands."""

import json
from pathlib import Path

from erde_cli.core.figures import macs, percent

from ..browser import opened, started_browser
from ..conftest import Cli, JsonOf


def test_the_figures_are_those_of_evaluate_and_of_the_thresholds(
    run_copy: Path, cli: Cli, json_of: JsonOf
) -> None:
    evaluated = json_of("evaluate", run_copy / "student")
    code, _, err = cli("report", run_copy)
    assert code == 0, err
    chosen = json.loads((run_copy / "student/thresholds.json").read_text())
    with started_browser() as browser, opened(browser, run_copy / "report.html") as shown:
        head = shown.text(".headline")
        assert f"{percent(evaluated['accuracy'])} %" in head
        assert macs(evaluated["expected_macs"]) in head
        assert shown.text("#now-accuracy") == f"{percent(chosen['accuracy'])} %"
        assert shown.text("#now-macs") == macs(chosen["expected_macs"])
        rates = [shown.text(f"#rate-{i}") for i in range(len(chosen["exit_rates"]))]
        assert rates == [f"{percent(rate, 1)} %" for rate in chosen["exit_rates"]]
        for section in ("trade-off", "sliders", "images", "classes", "training", "again"):
            assert shown.page.locator(f"section#{section}").is_visible()
        assert shown.overflow() <= 0
        assert shown.faults == []
