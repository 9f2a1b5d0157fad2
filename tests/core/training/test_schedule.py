"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import pytest
import torch

from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.schedule import learning_rate

Schedule = Literal["cosine", "one_cycle"]
EPOCHS, STEPS, PEAK = 10, 8, 0.3

SCHEDULES = pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
WARMUPS = pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0, 4.0])


def rates(schedule: Schedule, warmup: float) -> list[float]:
    training = Training(epochs=EPOCHS, learning_rate=PEAK, schedule=schedule, warmup_epochs=warmup)
    return [learning_rate(training, step, STEPS) for step in range(EPOCHS * STEPS)]


@SCHEDULES
@WARMUPS
def test_every_step_learns_and_none_above_the_peak(schedule: Schedule, warmup: float) -> None:
    assert all(0 < rate <= PEAK for rate in rates(schedule, warmup))


@SCHEDULES
@WARMUPS
def test_the_peak_comes_right_after_the_warm_up(schedule: Schedule, warmup: float) -> None:
    found = rates(schedule, warmup)
    assert found[int(warmup * STEPS)] == pytest.approx(PEAK, rel=1e-12)
    assert found.index(max(found)) == int(warmup * STEPS)


@SCHEDULES
@WARMUPS
def test_the_rate_rises_over_the_warm_up_and_falls_after_it(
    schedule: Schedule, warmup: float
) -> None:
    found = rates(schedule, warmup)
    top = int(warmup * STEPS)
    assert all(before < after for before, after in pairwise(found[: top + 1]))
    assert all(before > after for before, after in pairwise(found[top:]))


@SCHEDULES
@pytest.mark.parametrize("warmup", [0.3, 2.4])
def test_a_warm_up_that_ends_within_a_step_has_its_peak_beside_it(
    schedule: Schedule, warmup: float
) -> None:
    found = rates(schedule, warmup)
    assert found.index(max(found)) in (math.floor(warmup * STEPS), math.ceil(warmup * STEPS))
    assert 0.95 * PEAK < max(found) <= PEAK


@SCHEDULES
@WARMUPS
def test_the_warm_up_rises_in_a_straight_line(schedule: Schedule, warmup: float) -> None:
    top = int(warmup * STEPS)
    found = rates(schedule, warmup)[: top + 1]
    rises = [after - before for before, after in pairwise(found)]
    assert rises == pytest.approx([(found[-1] - found[0]) / max(top, 1)] * top)


def test_one_cycle_starts_at_a_25th_of_the_peak_or_more() -> None:
    assert rates("one_cycle", 4.0)[0] >= PEAK / 25


@WARMUPS
def test_one_cycle_falls_in_a_straight_line_to_0(warmup: float) -> None:
    found = rates("one_cycle", warmup)[int(warmup * STEPS) :]
    fall = PEAK / len(found)
    assert found == pytest.approx([PEAK - fall * step for step in range(len(found))])
    assert found[-1] == pytest.approx(fall)


@WARMUPS
def test_cosine_falls_along_half_a_cosine_to_0(warmup: float) -> None:
    found = rates("cosine", warmup)[int(warmup * STEPS) :]
    expected = [
        PEAK * (1 + math.cos(math.pi * step / len(found))) / 2 for step in range(len(found))
    ]
    assert found == pytest.approx(expected)
    assert found[-1] < 0.01 * PEAK


@SCHEDULES
def test_the_rate_of_a_step_depends_on_nothing_but_the_step(schedule: Schedule) -> None:
    training = Training(epochs=EPOCHS, learning_rate=PEAK, schedule=schedule, warmup_epochs=2)
    forwards = rates(schedule, 2.0)
    backwards = [learning_rate(training, step, STEPS) for step in reversed(range(EPOCHS * STEPS))]
    assert backwards[::-1] == forwards


@SCHEDULES
def test_the_rates_scale_with_the_peak(schedule: Schedule) -> None:
    small, large = (
        Training(epochs=EPOCHS, learning_rate=peak, schedule=schedule) for peak in (0.1, 0.4)
    )
    for step in range(EPOCHS * STEPS):
        assert learning_rate(large, step, STEPS) == pytest.approx(
            4 * learning_rate(small, step, STEPS)
        )


@SCHEDULES
def test_a_training_of_a_single_step_takes_it_at_the_peak(schedule: Schedule) -> None:
    training = Training(epochs=1, learning_rate=PEAK, schedule=schedule, warmup_epochs=0)
    assert learning_rate(training, 0, steps_per_epoch=1) == pytest.approx(PEAK)


def stepped(**keys: object) -> list[float]:
    training = Training.model_validate(
        {"epochs": EPOCHS, "learning_rate": PEAK, "schedule": "step", "warmup_epochs": 0, **keys}
    )
    return [learning_rate(training, step, STEPS) for step in range(EPOCHS * STEPS)]


def test_a_stepped_rate_falls_at_its_milestones_and_only_there() -> None:
    found = stepped(milestones=[0.3, 0.8], decay=0.5)
    first, second = 3 * STEPS, 8 * STEPS
    assert found[:first] == [PEAK] * first
    assert found[first:second] == [PEAK * 0.5] * (second - first)
    assert found[second:] == [PEAK * 0.25] * (len(found) - second)


def test_a_stepped_rate_falls_to_a_tenth_at_half_and_three_quarters_unless_told() -> None:
    assert stepped() == stepped(milestones=[0.5, 0.75], decay=0.1)


def test_a_stepped_rate_is_that_of_the_library() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=PEAK)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimiser, [3, 8], gamma=0.2)
    rates_per_epoch = []
    for _ in range(EPOCHS):
        rates_per_epoch.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()
    ours = stepped(milestones=[0.3, 0.8], decay=0.2)
    assert ours[::STEPS] == pytest.approx(rates_per_epoch)


def test_a_stepped_rate_warms_up_as_a_cosine_does() -> None:
    found = stepped(warmup_epochs=2.0)
    assert found[: 2 * STEPS] == rates("cosine", 2.0)[: 2 * STEPS]
    assert found[2 * STEPS] == PEAK
