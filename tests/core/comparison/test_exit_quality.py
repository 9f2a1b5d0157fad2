"""Measures of an exit by hand, and what a target accuracy costs."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from erde_cli.core.comparison.curves import with_ends
from erde_cli.core.comparison.exit_quality import auroc, exit_qualities, savings
from erde_cli.core.inference.observations import Observations


def test_auroc_by_hand() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    assert auroc(scores, np.array([False, False, True, True])) == 0.75
    assert auroc(np.ones(4), np.array([False, False, True, True])) == 0.5


def test_auroc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 20, 300) / 10, rng.random(300) < 0.3
    assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


def test_an_empty_class_has_no_auroc() -> None:
    scores = np.array([0.1, 0.2])
    assert auroc(scores, np.array([True, True])) is None
    assert auroc(scores, np.array([False, False])) is None


def test_every_exit_is_described_on_all_images() -> None:
    # exit 0 wrong on images 1, 2, 3; the last exit repairs 1 and 3 only
    scores = np.array([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [0.4, 0.4]])
    correct = np.array([[True, True], [False, True], [False, False], [False, True]])
    seen = Observations(scores, correct, np.array([1.0, 2.0]))
    first, last = exit_qualities(seen, [0.1, 0.2], [1.0, 2.0])
    assert (first.exit, first.accuracy, first.ece, first.nll) == (0, 0.25, 0.1, 1.0)
    assert first.auroc_error == 1
    # repairable {0.2, 0.4} above others {0.1, 0.3}: 3 of 4 pairs
    assert first.auroc_repairable == 0.75
    assert first.accuracy_certain == 0.5
    assert last.auroc_repairable is None  # nothing is left to repair
    assert last.auroc_error == pytest.approx(2 / 3)
    assert (last.accuracy, last.accuracy_certain) == (0.75, 1.0)


def network(first: list[bool], last: list[bool]) -> Observations:
    scores = np.array([[0.1 * (n + 1), 0] for n in range(len(first))])
    return Observations(scores, np.array([first, last]).T, np.array([20.0, 100.0]))


def test_the_cheapest_point_that_meets_it_on_calibration_and_its_figures_on_test() -> None:
    yes, no = True, False
    calibration = network([yes, yes, no, no], [yes, yes, yes, no])
    test = network([no, no, no, no], [yes, yes, yes, yes])
    vectors = with_ends([(0.25,), (0.15,)], 1)
    # on calibration: always 0.5, 0.25 → 0.75 (cost 60), 0.15 → 0.75 (cost 80), never 0.75
    found = savings(calibration, test, vectors, 0.75, (200.0, 90.0))
    assert [one.points for one in found] == [0, 0.5, 1, 2]
    best = found[0]
    assert (best.reached, best.thresholds) == (True, (0.25,))
    assert (best.accuracy, best.expected_macs) == (0.5, 60)
    assert best.size_ratio == pytest.approx(200 / 90)
    assert best.exit_ratio == pytest.approx(90 / 60)
    assert best.macs_ratio == pytest.approx(200 / 60)


def test_what_is_not_met_has_no_figures() -> None:
    calibration = network([True, False], [True, False])
    found = savings(calibration, calibration, with_ends([], 1), 0.515, (200.0, 90.0))
    assert [one.reached for one in found] == [False, False, False, True]
    assert found[0].accuracy is None
    assert found[0].expected_macs is None
    assert found[0].macs_ratio is None
