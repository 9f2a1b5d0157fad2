"""Figures of each class, counted by hand."""

import numpy as np
import pytest

from erde_cli.core.inference.by_class import ByClass, by_class
from erde_cli.core.inference.observations import adaptive_of

MACS = np.array([10.0, 30.0])
LABELS = np.array([0, 0, 0, 0, 1, 1])
ANSWERS = np.array([0, 0, 0, 2, 1, 0])
EXITS = np.array([0, 0, 1, 1, 0, 1])


@pytest.fixture
def found() -> ByClass:
    """Four images of a, two of b, none of c, which is the answer once."""
    return by_class(("a", "b", "c"), LABELS, ANSWERS, EXITS, MACS)


def test_rows_of_the_matrix_are_true_classes(found: ByClass) -> None:
    assert found.confusion.tolist() == [[3, 0, 1], [1, 1, 0], [0, 0, 0]]


def test_recall_precision_exits_and_cost(found: ByClass) -> None:
    a, b, _ = found.rows()
    assert a == {
        "class_name": "a", "images": 4, "recall": 0.75, "precision": 0.75,
        "exit_rates": [0.5, 0.5], "expected_macs": 20.0,
    }  # fmt: skip
    assert (b["recall"], b["precision"], b["exit_rates"]) == (0.5, 1.0, [0.5, 0.5])


def test_a_class_without_images_has_no_figures_and_does_not_count(found: ByClass) -> None:
    c = found.rows()[2]
    assert (c["images"], c["recall"], c["exit_rates"], c["expected_macs"]) == (0, None, None, None)
    assert c["precision"] == 0
    assert found.balanced_accuracy == (0.75 + 0.5) / 2


def test_a_class_that_is_never_the_answer_has_no_precision() -> None:
    zeros = np.zeros(2, dtype=np.int64)
    rows = by_class(("a", "b"), np.array([0, 1]), zeros, zeros, MACS).rows()
    assert [row["precision"] for row in rows] == [0.5, None]
    assert [row["recall"] for row in rows] == [1, 0]


def test_the_classes_make_up_the_whole(found: ByClass) -> None:
    whole = adaptive_of(EXITS, ANSWERS == LABELS, MACS)
    rows = [row for row in found.rows() if row["images"]]
    counts = np.array([row["images"] for row in rows]) / len(LABELS)
    assert counts @ [row["recall"] for row in rows] == pytest.approx(whole.accuracy)
    assert counts @ [row["expected_macs"] for row in rows] == pytest.approx(whole.expected_macs)
    assert counts @ [row["exit_rates"] for row in rows] == pytest.approx(whole.exit_rates)
