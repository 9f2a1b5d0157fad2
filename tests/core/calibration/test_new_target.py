"""A target is one class: everything else asks it, and knows no target by its name."""

import ast
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import erde_cli
from erde_cli.core.calibration.estimate import calibrate, estimated_result
from erde_cli.core.calibration.pick import choose_point, with_point
from erde_cli.core.calibration.result import Basis, document_of
from erde_cli.core.calibration.thresholds_file import (
    TargetDocument,
    ThresholdsDocument,
    read_thresholds,
    write_thresholds,
)
from erde_cli.core.events import Observer
from erde_cli.core.thresholds.named_target import one_target, parse_pick
from erde_cli.core.thresholds.target import Figures, Unit
from erde_cli.core.thresholds.targets import TARGETS, Budget

from .test_estimate import observe


class MaxLastExit(Budget):
    """The most accurate of which at most such a share of images reaches the last exit."""

    kind, option, metavar = "max_last_exit", "--max-last-exit", "SHARE"
    phrase = "at most {value} of the images at the last exit"
    unit = "share of images"
    bounds, example = "a share of images, above 0 and at most 1", "0.3"

    def cost(self, macs: Sequence[float], latencies: Sequence[float] | None) -> Sequence[float]:
        return [0.0] * (len(macs) - 1) + [1.0]

    def most_cost(self, full: float) -> float:
        return self.value

    def excess(self, figures: Figures, full_macs: float) -> float:
        return figures.exit_rates[-1] - self.value

    def reached(self, figures: Figures) -> tuple[float, Unit]:
        return figures.exit_rates[-1], "%"


@pytest.fixture
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, MaxLastExit.kind, MaxLastExit)


@pytest.fixture
def document(_known: None) -> ThresholdsDocument:
    observations = observe(0, 400, 3)
    target = one_target({"max_last_exit": 0.3})
    result = estimated_result(calibrate(observations, target), observations, np.arange(100))
    basis = Basis("calibration split", "f", "w", "float32", "cpu", None, None)
    return document_of(result, basis)


def test_a_new_target_is_searched_for(document: ThresholdsDocument) -> None:
    assert document.met
    assert 0.2 < document.exit_rates[-1] <= 0.3
    better = [one for one in document.frontier if (one.accuracy or 0) > (document.accuracy or 0)]
    assert all(one.exit_rates[-1] > 0.3 for one in better)
    assert document.target.read().in_words == "at most 0.3 of the images at the last exit"


def test_a_new_target_is_written_and_read_again(
    document: ThresholdsDocument, tmp_path: Path
) -> None:
    write_thresholds(tmp_path, document)
    found = read_thresholds(tmp_path, "w", 3)
    assert found == document
    assert found.target.read() == MaxLastExit(0.3)


def test_a_new_target_is_picked_from_the_frontier(document: ThresholdsDocument) -> None:
    full = max(point.expected_macs for point in document.frontier)
    target = parse_pick("max-last-exit=0.1")
    found = choose_point(Path("bundle"), document, target, full, Observer())
    changed = with_point(document, found)
    allowed = [one for one in document.frontier if one.exit_rates[-1] <= 0.1]
    assert changed.accuracy == max(one.accuracy or 0 for one in allowed)
    assert changed.met_where_chosen
    assert changed.target.model_dump() == {
        "kind": "max_last_exit", "value": 0.1, "unit": "share of images", "metric": "accuracy",
        "how": "picked",
    }  # fmt: skip
    assert changed.seal != document.seal


def test_every_target_says_all_that_is_asked_of_it() -> None:
    for kind, target in TARGETS.items():
        made = target(0.5)
        assert made.option == "--" + kind.replace("_", "-")
        assert "0.5" in made.in_words
        assert made.metavar
        assert made.unit
        assert dataclasses.replace(made, value=0.25).value == 0.25


def test_no_code_compares_the_name_of_a_target() -> None:
    root = Path(erde_cli.__file__).parent
    found = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare)
        for constant in ast.walk(node)
        if isinstance(constant, ast.Constant) and constant.value in (*TARGETS, "kind")
    ]
    assert not found


@pytest.mark.parametrize(
    ("kind", "value"), [("max_last_exit", 0.3), ("max_latency", 0.0), ("max_drop", "always")]
)
def test_a_target_that_nobody_could_name_is_not_read(kind: str, value: float | str) -> None:
    with pytest.raises(ValueError, match="must be a target of erde calibrate"):
        TargetDocument(kind=kind, value=value, unit="ms", how="searched")  # type: ignore[arg-type]
