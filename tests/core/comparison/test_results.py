"""What is said over seeds, and of how many differences at once."""

import re

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from erde_cli.core.comparison.differences import decided
from erde_cli.core.comparison.document import PairedDifference
from erde_cli.core.comparison.exit_quality import Saving
from erde_cli.core.comparison.paired import difference
from erde_cli.core.comparison.report import _differences, statement
from erde_cli.core.comparison.results import gapped, saved
from erde_cli.core.comparison.summary import Spread
from erde_cli.core.inference.entropy_gap import EntropyGap


def student(reached: bool, accuracy: float | None) -> list[Saving]:
    return [Saving(0.0, reached, None, *[accuracy] * 5)]


def test_what_every_seed_reached_is_averaged() -> None:
    found = saved(0, [student(True, 0.75), student(True, 0.25)])
    assert (found.reached, found.seeds) == (2, 2)
    assert found.accuracy == Spread(0.5, 0.125**0.5, 0.25, 0.75)


def test_what_one_seed_did_not_reach_is_counted_and_not_averaged() -> None:
    found = saved(0, [student(True, 0.5), student(False, None)])
    assert (found.reached, found.seeds) == (1, 2)
    assert found.accuracy is None
    assert found.expected_macs is None


def test_a_seed_without_a_teacher_is_not_asked() -> None:
    found = saved(0, [student(True, 0.5), None])
    assert (found.reached, found.seeds) == (1, 1)
    assert found.accuracy == Spread(0.5, None, 0.5, 0.5)


def gap(wrong: float | None) -> EntropyGap:
    return EntropyGap(0, wrong, 0.5, 0.5, 0.5, 0.5)


def test_gaps_are_averaged_over_the_seeds_that_have_a_teacher() -> None:
    [one] = gapped([[gap(0.5)], [gap(1.0)], None])
    assert (one.exit, one.seeds) == (0, 2)
    assert one.wrong == Spread(0.75, 0.5**0.5 / 2, 0.5, 1.0)
    assert one.gap == Spread(0.25, 0.5**0.5 / 2, 0.0, 0.5)
    [one] = gapped([[gap(0.5)], [gap(None)]])
    assert one.wrong is None  # a seed whose teacher is never wrong
    assert one.right == Spread(0.5, 0.0, 0.5, 0.5)
    assert gapped([None]) == []


def test_the_primary_difference_is_corrected_for_nothing() -> None:
    auc = difference([0.02, 0.03, 0.025], np.zeros((3, 10)))
    assert auc.p_value is not None
    primary, other = decided(auc, None), decided(auc, 4)
    assert (primary.interval_corrected, primary.p_corrected) == (None, None)
    assert other.p_corrected == 4 * auc.p_value
    assert primary.verdict == "better"
    assert decided(auc, 40).verdict == "no difference shown"
    assert decided(difference([0.02], np.zeros((1, 10))), 4).verdict is None


shares = st.integers(-5000, 5000).map(lambda images: images / 100_000)
values = st.builds(
    lambda centre, around: [centre + one / 10 for one in around],
    shares, st.lists(shares, min_size=2, max_size=6),
)  # fmt: skip


@settings(max_examples=80, deadline=None, database=None, derandomize=True)
@example([0.02, 0.03, 0.025], 0.0, 40)  # shown alone, and not among forty
@example([-0.02, -0.03, -0.025], 0.0, 40)
@given(values, st.floats(0, 0.05), st.none() | st.integers(1, 40))
def test_the_interval_that_is_printed_is_the_one_that_decides(
    of_seeds: list[float], spread: float, others: int | None
) -> None:
    base = np.array([-spread, spread] * 5)
    auc = difference(of_seeds, np.tile(base, (len(of_seeds), 1)))
    seeds, alone = list(range(len(of_seeds))), others is None
    one = PairedDifference("x", "y", "auc", alone, seeds, False, auc, decided(auc, others))
    said = statement(one)
    low, high = map(float, re.findall(r"interval (\S+) to ([^,]+),", said)[0])
    shown = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
    assert said.endswith(shown)
    assert ("simultaneous" in said) == (others is not None)
    assert "-0.00 " not in said
    p_value = auc.p_value if others is None else one.decision.p_corrected
    assert p_value is not None
    assert abs(p_value - 0.05) < 1e-6 or (shown != "no difference shown") == (p_value < 0.05)
    (cells,) = _differences([one])
    assert said.split("interval ")[1].split(",")[0] in cells
    assert shown in cells
