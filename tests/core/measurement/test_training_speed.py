"""Candidates in turn, a median with its spread, and a gain only where it is beyond the spread."""

import pytest

from erde_cli.core.errors import ErdeError
from erde_cli.core.measurement.training_speed import Candidate, Speeds, Spread, TrialError, measure

NOW = Candidate("float32", "contiguous", 1)
OTHER = Candidate("bfloat16", "channels_last", 2)
SLOW = Candidate("float16", "contiguous", 1, compile=True)


class Scripted:
    """A trial that gives figures in turn, or fails where an error stands in their place."""

    def __init__(self, *figures: float | TrialError) -> None:
        self._left = iter(figures)
        self.steps: list[int] = []
        self.limits: list[float] = []
        self.closed = 0

    def __call__(self, steps: int, limit: float) -> float:
        assert not self.closed
        self.steps.append(steps)
        self.limits.append(limit)
        figure = next(self._left)
        if isinstance(figure, TrialError):
            raise figure
        return figure

    def close(self) -> None:
        self.closed += 1


def test_candidates_are_measured_in_turn_after_a_step_that_does_not_count() -> None:
    told: list[tuple[int, int]] = []
    now, other = Scripted(60, 10, 12, 11), Scripted(99, 20, 21, 22)
    speeds = measure({NOW: now, OTHER: other}, NOW, 4, 3, lambda *at: told.append(at))
    assert now.steps == other.steps == [1, 4, 4, 4]
    assert speeds.found == {NOW: [10, 12, 11], OTHER: [20, 21, 22]}
    assert speeds.spread(NOW) == Spread(11, 10, 12)
    assert speeds.factor(OTHER, NOW) == Spread(2.0, 1.75, 2.0)
    assert speeds.factor(NOW, NOW) == Spread(1, 1, 1)
    assert told[-1] == (26, 26)
    assert [at for at in told if at[0] == at[1]] == [(26, 26)]  # the bar goes once, at the end
    assert now.closed
    assert other.closed


def test_hopeless_candidates_are_measured_once_unless_they_are_what_the_recipe_gives() -> None:
    told: list[tuple[int, int]] = []
    slow = Scripted(1, 20)
    trials = {NOW: Scripted(1, 10, 10, 10), OTHER: Scripted(1, 90, 90, 90), SLOW: slow}
    speeds = measure(trials, NOW, 2, 3, lambda *at: told.append(at))
    assert [len(figures) for figures in speeds.found.values()] == [3, 3, 1]
    assert told[-1] == (17, 17)
    assert slow.closed


def test_a_slow_first_step_is_followed_by_a_single_one_and_may_have_been_a_slow_beginning() -> None:
    told: list[tuple[int, int]] = []
    other, slow = Scripted(1, 90, 90, 90), Scripted(1, 2)
    trials = {NOW: Scripted(90, 80, 80, 80), OTHER: other, SLOW: slow}
    speeds = measure(trials, NOW, 5, 3, lambda *at: told.append(at))
    assert other.steps == [1, 1, 5, 5]
    assert slow.steps == [1, 1]
    assert speeds.fastest == OTHER
    assert told[-1] == (3 + 15 + 11 + 1, 30)


CRASH = TrialError("crashed, signal 6")


@pytest.mark.parametrize("figures", [(CRASH,), (9, CRASH), (9, 9, CRASH), (9, 9, 9, CRASH)])
def test_what_crashes_at_any_time_is_named_and_left_out_and_the_rest_goes_on(
    figures: tuple[float | TrialError, ...],
) -> None:
    told: list[tuple[int, int]] = []
    broken = Scripted(*figures)
    trials = {NOW: Scripted(9, 10, 11, 12), OTHER: broken, SLOW: Scripted(9, 9, 9, 9)}
    speeds = measure(trials, NOW, 2, 3, lambda *at: told.append(at))
    assert speeds.found == {NOW: [10, 11, 12], SLOW: [9, 9, 9]}
    assert speeds.skipped == {OTHER: "crashed, signal 6"}
    assert broken.closed
    assert told[-1][0] == told[-1][1]
    assert all(done < total for done, total in told[:-1])


def test_where_the_recipes_own_settings_crash_the_fastest_of_the_others_is_a_gain() -> None:
    trials = {NOW: Scripted(CRASH), OTHER: Scripted(5, 5, 5, 5), SLOW: Scripted(6, 6, 6, 6)}
    speeds = measure(trials, NOW, 1, 3, lambda *_: None)
    assert speeds.fastest == SLOW
    assert speeds.factor(SLOW, NOW) is None
    assert speeds.clear_gain(NOW)


def test_where_everything_crashes_one_message_names_each() -> None:
    trials = {NOW: Scripted(CRASH), OTHER: Scripted(TrialError("no answer within 60 s"))}
    with pytest.raises(ErdeError, match="Nothing could be measured") as caught:
        measure(trials, NOW, 1, 3, lambda *_: None)
    assert "crashed, signal 6" in caught.value.got
    assert "no answer within 60 s" in caught.value.got
    assert all(trial.closed for trial in trials.values())


def test_others_are_waited_for_by_what_the_first_took_and_never_without_end() -> None:
    now, other, compiled = Scripted(1, 1, 1, 1), Scripted(1, 1, 1, 1), Scripted(1, 1, 1, 1)
    measure({NOW: now, OTHER: other, SLOW: compiled}, NOW, 1, 3, lambda *_: None)
    assert now.limits == [900, 60, 60, 60]
    assert other.limits == [60, 60, 60, 60]
    assert compiled.limits[0] == 900  # compiling takes minutes


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
