"""Whether early exit pays: dominance by hand."""

from __future__ import annotations

import json

import pytest

from erde_cli.core.measurement.verdict import LatencyCosts, give_verdict

ACCURACY = [0.80, 0.90, 0.95]  # of each exit alone
MACS = [40.0, 70.0, 100.0]
SLOWEST = 10.0


def costs(adaptive: float, batch: int = 1) -> LatencyCosts:
    return LatencyCosts(batch, [4.0, 7.0, SLOWEST], adaptive)


def test_better_than_every_exit_alone() -> None:
    found = give_verdict(ACCURACY, MACS, 0.94, 75.0)
    assert (found.better, found.by_macs, found.by_latency) == (True, True, None)
    assert (found.dominating_exit, found.best_exit) == (None, 1)
    assert found.share_of_last == 0.75
    assert found.sentence == (
        "Yes: 94.0 % of held-out images right; +4.0 points over exit 2 of 3 alone, the best at no "
        "more MACs; -1.0 points from the last exit alone, at 75.0 % of its MACs."
    )


def test_dominated_by_an_exit_alone() -> None:
    found = give_verdict(ACCURACY, MACS, 0.89, 75.0)
    assert (found.better, found.by_macs, found.dominating_exit) == (False, False, 1)
    assert found.sentence == (
        "No: exit 2 of 3 alone gets 90.0 % right at 70.0 % of the MACs of the last exit alone; "
        "the thresholds get 89.0 % (held out) at 75.0 % of its MACs."
    )


def test_in_balanced_accuracy_the_sentence_says_so() -> None:
    for accuracy, said in (
        (0.94, "Yes: a balanced accuracy of 94.0 % on held-out images; +4.0 points over exit 2"),
        (0.89, "No: exit 2 of 3 alone has a balanced accuracy of 90.0 % at 70.0 % of the MACs"),
    ):
        found = give_verdict(ACCURACY, MACS, accuracy, 75.0, [], "balanced_accuracy")
        assert found.sentence.startswith(said)
        assert found.to_json()["metric"] == "balanced_accuracy"


@pytest.mark.parametrize(
    ("accuracy", "macs", "dominating"),
    [
        (0.90, 70.0, 1),  # the same in both is no gain
        (0.90 + 1e-12, 70.0, 1),  # rounding is none either
        (0.90, 70.0 * (1 - 1e-12), 1),
        (0.901, 70.0, None),
        (0.90, 69.9, None),
        (0.80, 39.9, None),  # cheaper than every exit alone
        (0.75, 45.0, 0),
        (0.75, 110.0, 0),  # several do: the cheapest is named
        (0.95, 101.0, 2),  # never early: the last exit without the early heads
        (0.96, 101.0, None),  # dearer than the last exit, and more accurate
    ],
)
def test_dominance_is_at_least_the_accuracy_at_no_more_cost(
    accuracy: float, macs: float, dominating: int | None
) -> None:
    found = give_verdict(ACCURACY, MACS, accuracy, macs)
    assert found.dominating_exit == dominating
    assert found.better is (dominating is None)
    assert found.sentence.startswith("Yes: " if dominating is None else "No: exit ")


def test_the_best_exit_at_no_more_cost_is_the_most_accurate_not_the_last() -> None:
    found = give_verdict([0.90, 0.85, 0.95], MACS, 0.94, 75.0)
    assert found.best_exit == 0
    assert "+4.0 points over exit 1 of 3 alone" in found.sentence


def test_cheaper_than_every_exit_alone_is_said() -> None:
    found = give_verdict(ACCURACY, MACS, 0.7, 30.0)
    assert found.best_exit is None
    assert "no exit alone costs as little; -25.0 points from the last exit alone" in found.sentence


def test_latency_agrees() -> None:
    found = give_verdict(ACCURACY, MACS, 0.94, 75.0, [costs(8.0), costs(9.0, 32)])
    assert (found.better, found.by_latency) == (True, True)
    assert found.sentence.endswith(
        "at 75.0 % of its MACs and 80.0 % of its latency at batch 1, 90.0 % at 32."
    )


def test_yes_by_macs_and_no_by_latency_is_said_plainly() -> None:
    found = give_verdict(ACCURACY, MACS, 0.94, 75.0, [costs(8.0), costs(11.0, 32), costs(12, 256)])
    assert (found.better, found.by_macs, found.by_latency) == (False, True, False)
    assert [one.dominating_exit for one in found.batches] == [None, 2, 2]
    assert found.sentence.startswith("By MACs yes, by latency no: 94.0 %")
    assert found.sentence.endswith(
        "110.0 % at 32, 120.0 % at 256; "
        "at batch 32, 256 exit 3 of 3 alone takes no longer and gets 95.0 % right."
    )


def test_no_by_macs_and_yes_by_latency_is_said_plainly() -> None:
    found = give_verdict(ACCURACY, MACS, 0.89, 75.0, [costs(5.0)])
    assert (found.better, found.by_macs, found.by_latency) == (False, False, True)
    assert found.sentence.startswith("By MACs no, by latency yes: exit 2 of 3 alone")
    assert found.sentence.endswith("and 50.0 % of its latency at batch 1.")


def test_no_by_both() -> None:
    found = give_verdict(ACCURACY, MACS, 0.89, 75.0, [costs(7.5)])
    assert (found.better, found.by_macs, found.by_latency) == (False, False, False)
    assert found.sentence.startswith("No: exit 2 of 3 alone")
    assert "at batch 1 exit 2 of 3 alone takes no longer and gets 90.0 % right" in found.sentence


def test_a_gain_in_time_within_the_noise_is_none() -> None:
    assert not give_verdict(ACCURACY, MACS, 0.94, 75.0, [costs(9.9)]).by_latency
    assert give_verdict(ACCURACY, MACS, 0.94, 75.0, [costs(9.7)]).by_latency


def test_the_object_for_json_holds_every_figure_of_the_sentence() -> None:
    found = give_verdict(ACCURACY, MACS, 0.94, 75.0, [costs(11.0, 32)]).to_json()
    assert json.loads(json.dumps(found)) == {
        "better": False,
        "by_macs": True,
        "by_latency": False,
        "sentence": found["sentence"],
        "metric": "accuracy",
        "accuracy": 0.94,
        "expected_macs": 75.0,
        "share_of_static_macs": 0.75,
        "dominating_exit": None,
        "best_exit": 1,
        "exits": [
            {"exit": 0, "accuracy": 0.8, "static_macs": 40.0},
            {"exit": 1, "accuracy": 0.9, "static_macs": 70.0},
            {"exit": 2, "accuracy": 0.95, "static_macs": 100.0},
        ],
        "batches": [
            {"batch": 32, "better": False, "dominating_exit": 2, "share_of_static_latency": 1.1}
        ],
    }
