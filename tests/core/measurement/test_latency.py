"""Times of leaving at each exit: what is run for them, and how the figures are made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from erde_cli.core.inference.routing import route
from erde_cli.core.measurement import latency as module
from erde_cli.core.measurement.latency import (
    BatchLatency,
    EndToEnd,
    Timing,
    TorchRuns,
    exit_latencies,
    leaving_at,
    measure_runs,
    static_network,
)
from erde_cli.core.measurement.rounds import Workload, seconds_in_rounds
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.thresholds.scores import Score

from ...other_scores import MARGIN
from .conftest import Clock

SLOW, WARM_UP = 0.02, 0.3  # seconds


def make_model(cuts: tuple[int, ...] = (1, 2)) -> EarlyExitNet:
    return build_model(Architecture("resnet", 8, 4, cuts, "gap", 5, 8), seed=0).eval()


def make_images(count: int = 8) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(2))


class Slow(nn.Module):
    """A module that takes `SLOW` seconds longer."""

    def __init__(self, inner: nn.Module, clock: Clock) -> None:
        super().__init__()
        self.inner, self.clock = inner, clock

    def forward(self, features: Tensor) -> Tensor:
        self.clock.advance(SLOW)
        result: Tensor = self.inner(features)
        return result


@contextmanager
def called(model: EarlyExitNet) -> Iterator[list[str]]:
    """Names of the stages and heads that run, in order, with the number of images."""
    names: list[str] = []
    hooks = [
        inner.register_forward_hook(
            lambda _module, inputs, _output, name=f"{kind} {index}": names.append(
                f"{name}: {len(inputs[0])}"
            )
        )
        for kind, modules in (("stage", model.stages), ("head", model.heads))
        for index, inner in enumerate(modules)
    ]
    yield names
    for hook in hooks:
        hook.remove()


def timing(median: float) -> Timing:
    return Timing(median, median, median, 1)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("exit_", [0, 1, 2])
def test_leaving_at_an_exit_runs_every_stage_and_head_up_to_it(batch: int, exit_: int) -> None:
    model = make_model()
    with called(model) as names:
        routed = route(model, make_images(batch), leaving_at(exit_, 3))
    assert routed.exit.tolist() == [exit_] * batch
    assert names == [f"{kind} {i}: {batch}" for i in range(exit_ + 1) for kind in ("stage", "head")]


def test_a_network_without_early_exits_is_left_at_its_only_one() -> None:
    assert leaving_at(0, 1) == []
    assert len(exit_latencies(TorchRuns(make_model(())), make_images(), repeats=3)) == 1


@pytest.mark.parametrize("exit_", [0, 1, 2])
def test_a_static_network_runs_no_earlier_head_and_answers_as_that_exit(exit_: int) -> None:
    model, images = make_model(), make_images()
    with called(model) as names, torch.no_grad():
        found = static_network(model, exit_)(images)
    assert names == [*(f"stage {i}: 8" for i in range(exit_ + 1)), f"head {exit_}: 8"]
    with torch.no_grad():
        assert torch.equal(found, model(images)[:, exit_])


def test_a_measurement_runs_what_it_says_in_turn_and_one_round_more() -> None:
    model = make_model()
    with called(model) as names:
        measure_runs(TorchRuns(model), make_images(6), 2, [0.0, math.inf], repeats=3)
    leaving = [f"{kind} {i}" for last in range(3) for _ in range(3) for i in range(last + 1)
               for kind in ("stage", "head")]  # fmt: skip
    static = [name for last in range(3) for _ in range(3)
              for name in (*(f"stage {i}" for i in range(last + 1)), f"head {last}")]  # fmt: skip
    mix = ["stage 0", "head 0", "stage 1", "head 1"] * 3
    expected = [f"{name}: 2" for name in (mix + (leaving + static + mix) * 4)]
    assert names == expected


def test_every_figure_is_positive_and_counts_its_calls() -> None:
    reported: list[tuple[int, int]] = []
    found = measure_runs(TorchRuns(make_model()), make_images(7), 2, [0.0, 0.0], repeats=4,
        progress=lambda done, total: reported.append((done, total)),
    )  # fmt: skip
    assert (found.batch, found.images) == (2, 6)  # the seventh fills no batch
    assert len(found.exits) == len(found.static) == 3
    assert found.end_to_end is not None
    for one in (*found.exits, *found.static, found.end_to_end.timing):
        assert 0 < one.p5 <= one.median <= one.p95
        assert one.calls == 3 * 4
    assert found.end_to_end.exit_rates == (0, 0, 1)
    assert found.expected == found.exits[-1].median
    assert reported == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_without_thresholds_nothing_is_said_of_a_mix() -> None:
    found = measure_runs(TorchRuns(make_model()), make_images(), 4, repeats=3)
    assert (found.end_to_end, found.expected, found.shares([1, 2, 3])) == (None, None, None)


def test_too_few_images_for_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="9 images expected at least, got 8"):
        measure_runs(TorchRuns(make_model()), make_images(), 9)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_slow_stage_shows_in_its_exit_and_not_in_the_one_before(batch: int, clock: Clock) -> None:
    model = make_model()
    model.stages[1] = Slow(model.stages[1], clock)
    fast, slow = (pytest.approx(1000 * seconds / batch, abs=0.01) for seconds in (0, SLOW))
    found = measure_runs(TorchRuns(model), make_images(4), batch, [math.inf, 0.0], repeats=3)
    assert [timing.median for timing in found.exits] == [fast, slow, slow]
    assert [timing.median for timing in found.static] == [fast, slow, slow]
    assert found.end_to_end is not None
    assert found.end_to_end.mean == fast  # all leave before it


def test_a_slow_head_is_paid_by_later_exits_but_not_by_later_static_networks(
    clock: Clock,
) -> None:
    model = make_model()
    model.heads[0] = Slow(model.heads[0], clock)
    fast, slow = (pytest.approx(1000 * seconds, abs=0.01) for seconds in (0, SLOW))
    found = measure_runs(TorchRuns(model), make_images(2), 1, repeats=3)
    assert [timing.median for timing in found.exits] == [slow] * 3
    assert [timing.median for timing in found.static] == [slow, fast, fast]


def test_the_mix_is_routed_at_the_thresholds_that_are_given() -> None:
    model, images = make_model(), make_images(40)
    with torch.no_grad():
        scores = route(model, images, [math.inf, math.inf]).score
    thresholds = [float(scores.double().median()), math.inf]
    found = measure_runs(TorchRuns(model), images, 4, thresholds, repeats=3)
    exits = route(model, images, thresholds).exit
    assert found.end_to_end is not None
    rates = torch.bincount(exits, minlength=3) / len(exits)
    assert found.end_to_end.exit_rates == pytest.approx(rates.tolist())
    assert 0.3 < found.end_to_end.exit_rates[0] < 0.7


def test_a_timing_is_per_image_and_in_milliseconds() -> None:
    found = Timing.of(np.arange(101).reshape(1, 101) / 1000, batch=10)
    assert found == Timing(pytest.approx(5.0), pytest.approx(0.5), pytest.approx(9.5), 101)


def test_the_mean_of_the_mix_leaves_bursts_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pass_ = np.array([[1.0, 3.0], [1.0, 3.0], [100.0, 3.0]])  # seconds, [rounds, calls]
    monkeypatch.setattr(
        module, "seconds_in_rounds", lambda workloads, *_rest: [pass_] * len(workloads)
    )
    found = measure_runs(TorchRuns(make_model()), make_images(), 4, [0.0, 0.0])
    assert found.end_to_end is not None
    assert found.end_to_end.mean == pytest.approx(2 * 1000 / 4)


def test_end_to_end_is_compared_with_each_exit_alone_round_by_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pace = np.array([[1.0]] * 6 + [[2.0]])  # the machine slows down for a whole round
    alone = [2 * pace, 4 * pace, 8 * pace]
    alone[2][:3] = 400  # with bursts in three fast rounds, its median is that of the slow one
    mix = np.hstack([3 * pace, 4 * pace, 5 * pace])
    for call in range(3):
        mix[2 * call : 2 * call + 2, call] = 300  # one call of three is hit in nearly every round
    workloads = [pace, pace, pace, *alone, mix]
    monkeypatch.setattr(module, "seconds_in_rounds", lambda *_arguments: workloads)
    found = measure_runs(TorchRuns(make_model()), make_images(), 4, [0.0, 0.0])
    assert found.end_to_end is not None
    assert found.end_to_end.over_static == pytest.approx((2, 1, 0.5))


def test_expected_latency_and_shares_by_hand() -> None:
    end = EndToEnd((0.5, 0.25, 0.25), 2.5, timing(2), (1.0, 1.0, 1.0))
    found = BatchLatency(1, 8, (timing(1), timing(2), timing(4)), (timing(1),) * 3, end)
    assert found.increasing
    assert found.expected == 2.0
    shares = found.shares([100, 200, 400])
    assert shares is not None
    assert (shares.macs, shares.expected, shares.end_to_end) == (0.5, 0.5, 0.625)
    assert shares.ratio == 1.0
    flat = found.shares([100, 100, 1000])
    assert flat is not None
    assert flat.macs == pytest.approx(0.325)
    assert flat.ratio == pytest.approx(0.5 / 0.325)
    falling = BatchLatency(1, 8, (timing(1), timing(3), timing(2)), (timing(1),) * 3, None)
    assert not falling.increasing


def test_the_static_network_is_the_last_exit_without_early_heads() -> None:
    end = EndToEnd((0.5, 0.25, 0.25), 2.4, timing(2), (2.4, 1.2, 0.8))
    exits, alone = (timing(1), timing(2), timing(4)), (timing(0.8), timing(1.6), timing(3))
    found = BatchLatency(1, 8, exits, alone, end)
    assert found.over_static == pytest.approx([1 / 3, 2 / 3, 4 / 3])
    assert found.expected_alone == pytest.approx(0.5 * 0.8 + 0.25 * 1.6 + 0.25 * 3)
    shares = found.static_shares([100, 200, 400], static_macs=320)
    assert shares is not None
    assert (shares.macs, shares.expected, shares.end_to_end) == pytest.approx((0.625, 2 / 3, 0.8))
    assert shares.ratio == pytest.approx(2 / 3 / 0.625)
    unrouted = replace(found, end_to_end=None)
    assert (unrouted.expected_alone, unrouted.static_shares([1, 2, 4], 3)) == (None, None)


def test_a_time_is_that_of_routing_by_the_score_at_its_temperatures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[Sequence[float], Sequence[float], Score]] = []

    def noted(
        model: EarlyExitNet, images: Tensor, thresholds: Sequence[float],
        temperatures: Sequence[float], score: Score,
    ) -> object:  # fmt: skip
        seen.append((thresholds, temperatures, score))
        return route(model, images, thresholds, temperatures, score)

    monkeypatch.setattr(module, "route", noted)
    warm = [1.5, 2.0, 1.0]
    exit_latencies(TorchRuns(make_model(), warm, score=MARGIN), make_images(1), repeats=3)
    assert all(one in seen for one in ((leaving_at(exit_, 3), warm, MARGIN) for exit_ in range(3)))
    assert {score for _, _, score in seen} == {MARGIN}


def test_rounds_are_interleaved_and_the_first_does_not_count(clock: Clock) -> None:
    order: list[str] = []
    takes = {"a": iter([WARM_UP, 1, 2]), "b": iter([0, 3, 4])}

    def run(name: str, part: Tensor) -> None:
        order.append(name)
        clock.advance(next(takes[name]))

    images = [torch.zeros(1)]
    workloads = [Workload(lambda part, name=name: run(name, part), images) for name in ("a", "b")]
    depth = []

    @contextmanager
    def autocast() -> Iterator[None]:
        depth.append(len(order))
        yield

    found = seconds_in_rounds(workloads, 2, autocast)
    assert order == ["a", "b"] * 3
    assert depth == list(range(6))  # entered anew for every call
    assert [seconds.round(3).tolist() for seconds in found] == [[[1], [2]], [[3], [4]]]
