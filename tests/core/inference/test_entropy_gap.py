"""Entropy where the teacher is wrong and right, computed by hand."""

import numpy as np
import pytest

from erde_cli.core.inference.entropy_gap import EntropyGap, entropy_gaps

SCORES = np.array([[0.5, 0.1, 9], [0.25, 0.2, 9], [1.0, 0.3, 9], [0.25, 0.6, 9]])
CORRECT = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)


def test_both_groups_of_every_early_exit_by_hand() -> None:
    # exit 0: wrong on images 0 and 2; exit 1: on image 3; the last exit is left out
    teacher = np.array([[0, 1, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]], dtype=bool)
    first, second = entropy_gaps(SCORES, CORRECT, teacher)
    assert first == EntropyGap(0, 0.75, 0.25, 0.5, 0.5, 0.5)
    assert first.gap == 0.5
    assert (second.exit, second.wrong, second.share_wrong) == (1, 0.6, 0.25)
    assert second.right == pytest.approx(0.2)
    assert (second.accuracy_wrong, second.accuracy_right) == (0, 1)
    assert second.gap == pytest.approx(0.4)


@pytest.mark.parametrize("right", [True, False])
def test_a_group_without_images_has_no_figures(right: bool) -> None:
    [one, _] = entropy_gaps(SCORES, CORRECT, np.full((4, 3), right))
    known, missing = (0.5, 0.5), (None, None)
    assert (one.right, one.accuracy_right) == (known if right else missing)
    assert (one.wrong, one.accuracy_wrong) == (missing if right else known)
    assert one.share_wrong == (not right)
    assert one.gap is None


def test_a_network_without_early_exits_has_no_gaps() -> None:
    assert entropy_gaps(SCORES[:, :1], CORRECT[:, :1], CORRECT[:, :1]) == []


def test_answers_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images and exits"):
        entropy_gaps(SCORES, CORRECT, CORRECT[:3])
    with pytest.raises(ValueError, match="same images and exits"):
        entropy_gaps(SCORES, CORRECT, CORRECT[:, :2])
