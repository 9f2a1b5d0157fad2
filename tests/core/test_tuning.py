"""Candidates in turn, a median with its spread, and a gain only where it is beyond the spread."""

import pytest

from erde_cli.core.tuning import Candidate, Speeds, Spread, Trial, measure

NOW = Candidate("float32", "contiguous", 1)
OTHER = Candidate("bfloat16", "channels_last", 2)
SLOW = Candidate("float16", "contiguous", 1, compile=True)


def scripted(figures: list[float], log: list[tuple[str, int]], name: str) -> Trial:
    left = iter(figures)

    def run(steps: int) -> float:
        log.append((name, steps))
        return next(left)

    return run


def test_candidates_are_measured_in_turn_after_a_step_that_does_not_count() -> None:
    log: list[tuple[str, int]] = []
    told: list[tuple[int, int]] = []
    trials = {
        NOW: scripted([60, 10, 12, 11], log, "now"),
        OTHER: scripted([99, 20, 21, 22], log, "other"),
    }
    speeds = measure(trials, NOW, 4, 3, lambda *at: told.append(at))
    assert log == [("now", 1), ("other", 1), *[("now", 4), ("other", 4)] * 3]
    assert speeds.found == {NOW: [10, 12, 11], OTHER: [20, 21, 22]}
    assert speeds.spread(NOW) == Spread(11, 10, 12)
    assert speeds.factor(OTHER, NOW) == Spread(2.0, 1.75, 2.0)
    assert speeds.factor(NOW, NOW) == Spread(1, 1, 1)
    assert told[-1] == (26, 26)
    assert [at for at in told if at[0] == at[1]] == [(26, 26)]  # the bar goes once, at the end


def test_hopeless_candidates_are_measured_once_unless_they_are_what_the_recipe_gives() -> None:
    log: list[tuple[str, int]] = []
    told: list[tuple[int, int]] = []
    trials = {
        NOW: scripted([1, 10, 10, 10], log, "now"),
        OTHER: scripted([1, 90, 90, 90], log, "other"),
        SLOW: scripted([1, 20], log, "slow"),
    }
    speeds = measure(trials, NOW, 2, 3, lambda *at: told.append(at))
    assert [len(figures) for figures in speeds.found.values()] == [3, 3, 1]
    assert told[-1] == (17, 17)


def test_a_slow_first_step_is_followed_by_a_single_one_and_may_have_been_a_slow_beginning() -> None:
    log: list[tuple[str, int]] = []
    told: list[tuple[int, int]] = []
    trials = {
        NOW: scripted([90, 80, 80, 80], log, "now"),
        OTHER: scripted([1, 90, 90, 90], log, "other"),
        SLOW: scripted([1, 2], log, "slow"),
    }
    speeds = measure(trials, NOW, 5, 3, lambda *at: told.append(at))
    assert [steps for name, steps in log if name == "other"] == [1, 1, 5, 5]
    assert [steps for name, steps in log if name == "slow"] == [1, 1]
    assert speeds.fastest == OTHER
    assert told[-1] == (3 + 15 + 11 + 1, 30)


def test_what_cannot_run_is_named_and_left_out_but_never_what_the_recipe_gives() -> None:
    def broken(_: int) -> float:
        raise RuntimeError("not implemented for 'Half'\nat line 3")

    speeds = measure({NOW: lambda _: 1.0, SLOW: broken}, NOW, 1, 3, lambda *_: None)
    assert speeds.skipped == {SLOW: "not implemented for 'Half'"}
    assert list(speeds.found) == [NOW]
    with pytest.raises(RuntimeError, match="Half"):
        measure({NOW: broken, OTHER: lambda _: 1.0}, NOW, 1, 3, lambda *_: None)


@pytest.mark.parametrize(
    ("figures", "fastest", "clear"),
    [
        ([20, 21, 22], OTHER, True),
        ([13, 14, 11], OTHER, False),  # ahead in the middle, but not of every figure
        ([12, 13, 14], OTHER, False),
        ([9, 10, 8], NOW, False),
        ([500], NOW, False),  # one lucky figure of a candidate that was dropped
    ],
)
def test_a_gain_is_clear_where_every_figure_is_above_every_figure(
    figures: list[float], fastest: Candidate, clear: bool
) -> None:
    speeds = Speeds({NOW: [10, 12, 11], OTHER: figures}, {})
    assert speeds.fastest == fastest
    assert speeds.clear_gain(NOW) is clear


def test_a_candidate_is_told_in_words() -> None:
    assert str(NOW) == "float32, contiguous, 1 thread"
    assert str(SLOW) == "float16, contiguous, 1 thread, compiled"
    assert str(OTHER) == "bfloat16, channels_last, 2 threads"
