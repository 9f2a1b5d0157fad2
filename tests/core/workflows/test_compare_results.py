"""What is said over seeds, and of how many differences at once."""

from typing import Any

from erde_cli.core.workflows.compare_results import corrected_of_others, saved


def student(reached: bool, accuracy: float | None) -> dict[str, Any]:
    names = ("expected_macs", "macs_ratio", "size_ratio", "exit_ratio")
    one = {"reached": reached, "accuracy": accuracy, **dict.fromkeys(names, accuracy)}
    return {"savings": [one]}


def test_what_every_seed_reached_is_averaged() -> None:
    found = saved(0, [student(True, 0.75), student(True, 0.25)])
    assert (found["reached"], found["seeds"]) == (2, 2)
    assert found["accuracy"]["mean"] == 0.5
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == (0.25, 0.75)


def test_what_one_seed_did_not_reach_is_counted_and_not_averaged() -> None:
    found = saved(0, [student(True, 0.5), student(False, None)])
    assert (found["reached"], found["seeds"]) == (1, 2)
    assert found["accuracy"] is None
    assert found["expected_macs"] is None


def test_a_seed_without_a_teacher_is_not_asked() -> None:
    found = saved(0, [student(True, 0.5), {"savings": None}])
    assert (found["reached"], found["seeds"]) == (1, 1)
    assert found["accuracy"]["sd"] is None


def test_the_primary_difference_is_corrected_for_nothing_and_corrects_nothing() -> None:
    alone, other = ("kd", "cross_entropy"), ("erde", "cross_entropy")
    found = corrected_of_others({("erde", "kd"): 0.001, other: 0.03, alone: 0.02})
    assert found == {alone: 0.04, other: 0.04}
