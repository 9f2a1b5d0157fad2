"""Thresholds from scores: against brute force, and what must never happen."""

import math
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from erde_cli.core.calibration.document import TargetDocument
from erde_cli.core.calibration.estimate import calibrate, costs_of
from erde_cli.core.calibration.search import Goal, Search
from erde_cli.core.inference.observations import Observations
from erde_cli.core.inference.routing import first_exit
from erde_cli.core.thresholds.scores import Score
from erde_cli.core.thresholds.target import Target
from erde_cli.core.thresholds.targets import MaxDrop, MaxLatency, MaxMacs, MinAccuracy, Threshold

from ...other_scores import OTHERS, name_of

Key = tuple[float, float, float]
TARGETS = [
    *(MaxDrop(points) for points in (0.0, 1.0, 5.0, 20.0)),
    *(MaxMacs(share) for share in (0.2, 0.5, 0.7, 1.0)),
    MinAccuracy(0.6),
    MinAccuracy(0.99),
]


def observe(
    seed: int, images: int, exits: int, *, costs: list[float] | None = None, step: float = 0
) -> Observations:
    """Images of different difficulty; later exits know more, and are surer where they are right.

    A `step` rounds the scores, so that many are equal.
    """
    generator = np.random.default_rng(seed)
    skill = generator.normal(size=(images, 1)) + 0.4 * np.arange(exits) + 0.3
    correct = skill + generator.normal(size=(images, exits)) > 0
    scores = np.abs(generator.normal(size=(images, exits))) * np.where(correct, 0.5, 1.2)
    if step:
        scores = np.round(scores / step) * step
    macs = np.sort(generator.uniform(1, 10, exits)) if costs is None else np.array(costs)
    return Observations(scores, correct, macs)


def key_of(observations: Observations, target: Target, thresholds: tuple[float, ...]) -> Key:
    """What a choice is judged by: least violation, then the aim, then the other figure."""
    result = observations.under(thresholds)
    full = float(observations.cumulative_macs[-1])
    accuracy, share = round(result.accuracy, 9), round(result.expected_macs / full, 9)
    if target.kind in ("max_drop", "min_accuracy"):
        bound = target.value
        if target.kind == "max_drop":
            bound = observations.full_accuracy - target.value / 100
        return round(max(bound - accuracy, 0), 8), share, -accuracy
    return round(max(share - target.value, 0), 8), -accuracy, share


def midpoints(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every threshold that tells images apart, from never to always."""
    values = np.unique(scores)
    inner = (values[:-1] + values[1:]) / 2
    return np.concatenate([[0.0], inner[inner > 0], [math.inf]])


def brute_force(
    observations: Observations, target: Target, grids: list[NDArray[np.float64]]
) -> Key:
    return min(key_of(observations, target, choice) for choice in product(*grids))


def all_midpoints(observations: Observations) -> list[NDArray[np.float64]]:
    return [midpoints(column) for column in observations.scores.T[:-1]]


def choose(observations: Observations, target: Target) -> tuple[tuple[float, ...], bool]:
    """Thresholds, and whether they meet the target on the images that chose them."""
    costs = costs_of(observations, target)
    search = Search(observations, costs)
    thresholds = search.grid.thresholds(search.best(Goal.of(target, observations, costs)))
    figures = observations.figures(observations.exits(thresholds))
    return thresholds, target.met(figures, float(observations.cumulative_macs[-1]))


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize(("exits", "images"), [(2, 25), (3, 13)])
def test_the_choice_is_as_good_as_brute_force(exits: int, images: int, target: Target) -> None:
    even = [float(cost) for cost in range(1, exits + 1)]
    for seed in range(4):
        for costs in (None, even):
            for step in (0, 0.2):
                observations = observe(seed, images, exits, costs=costs, step=step)
                thresholds, met = choose(observations, target)
                best = brute_force(observations, target, all_midpoints(observations))
                assert key_of(observations, target, thresholds) == best
                assert met == (best[0] == 0)


@pytest.mark.parametrize("target", TARGETS[::3], ids=str)
@pytest.mark.parametrize("score", OTHERS, ids=name_of)
def test_another_score_is_searched_as_well_as_brute_force(score: Score, target: Target) -> None:
    for seed in range(3):
        plain = observe(seed, 13, 3)
        logits = 3 * np.random.default_rng(seed).normal(size=(13, 3, 4))
        values = score.value(torch.from_numpy(logits)).double().numpy()
        observations = replace(plain, scores=values)
        thresholds, met = choose(observations, target)
        best = brute_force(observations, target, all_midpoints(observations))
        assert key_of(observations, target, thresholds) == best
        assert met == (best[0] == 0)
        inside = [one for one in thresholds if 0 < one < math.inf]
        assert all(one <= score.largest(4) for one in inside)


@pytest.mark.parametrize("target", TARGETS[1:], ids=str)
def test_four_exits_are_exact_on_a_coarse_grid(target: Target) -> None:
    for seed in range(3):
        observations = observe(seed, 120, 4, costs=[1.0, 2.5, 3.0, 4.0], step=0.3)
        best = brute_force(observations, target, all_midpoints(observations))
        assert key_of(observations, target, choose(observations, target)[0]) == best


@pytest.mark.parametrize("target", [TARGETS[2], TARGETS[5], TARGETS[6]], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_more_exits_come_within_a_tenth_of_a_point_of_every_choice_on_the_grid(
    seed: int, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("erde_cli.core.calibration.grid.LEVELS", 10)
    observations = observe(seed, 1000, 5)
    costs = observations.cumulative_macs
    goal = Goal.of(target, observations, costs)
    found = Search(observations, costs)
    sizes = found.grid.sizes
    best = min(
        goal.key(table.reshape(2, -1)[:, goal.best(table)])
        for held in product(*map(range, sizes[:-2]))
        for table in [found.grid.table((*held, 0, 0), 2, 3)]
    )
    excess, first, second = goal.key(found.grid.evaluate(found.best(goal)))
    assert excess == best[0] == 0
    if target.kind == "max_macs":
        assert -first >= -best[1] - 0.001 * 1000
    else:  # at the same accuracy, hardly dearer
        assert first <= best[1] * 1.002
        assert -second >= goal.least_right  # type: ignore[operator]


def test_the_table_is_what_each_choice_gives() -> None:
    observations = observe(3, 90, 5, step=0.4)
    grid = Search(observations, observations.cumulative_macs).grid
    held = (2, 1, 3, 2)
    for i, j in [(0, 1), (0, 3), (1, 3), (2, 3), (1, 1)]:
        table = grid.table(held, i, j)
        for g_i, g_j in product(range(table.shape[1]), range(table.shape[2])):
            choice = list(held)
            choice[i] = g_i
            if i != j:
                choice[j] = g_j
            result = observations.under(grid.thresholds(choice))
            np.testing.assert_allclose(
                table[:, g_i, g_j] / 90, (result.accuracy, result.expected_macs), rtol=1e-9
            )


def test_a_latency_budget_is_kept_in_milliseconds_not_in_macs() -> None:
    observations = replace(observe(5, 400, 3), latencies=np.array([1.0, 9.0, 10.0]))
    result = calibrate(observations, MaxLatency(3.0))
    assert result.met_where_chosen
    rates = np.array(result.chosen.exit_rates)
    assert result.chosen.expected_latency == pytest.approx(rates @ [1.0, 9.0, 10.0])
    assert 2.0 < (result.chosen.expected_latency or 0) <= 3.0
    with pytest.raises(ValueError, match="latency"):
        calibrate(observe(5, 400, 3), MaxLatency(3.0))


def test_met_refers_to_what_was_held_out() -> None:
    differing = []
    for seed in range(10):
        observations = observe(seed, 100, 3)
        for target in TARGETS[:3]:
            result = calibrate(observations, target)
            bound = observations.full_accuracy - target.value / 100
            assert result.met == ((result.held_out.accuracy or 0) >= bound - 1e-9)
            assert result.met_where_chosen
            differing.append(result.met)
    assert not all(differing)


@pytest.mark.parametrize("exits", [1, 2, 3, 4, 5])
def test_the_frontier_rises_from_always_to_never_and_is_scored_held_out(exits: int) -> None:
    observations = observe(1, 300, exits)
    frontier = calibrate(observations, MaxDrop(1.0)).frontier
    assert 1 <= len(frontier) <= 66
    assert all(theta == math.inf for theta in frontier[0].thresholds[:1])
    assert frontier[-1].thresholds == (0.0,) * (exits - 1)
    costs = [point.figures.expected_macs for point in frontier]
    assert costs == sorted(costs)
    rising = [point.figures.accuracy or 0 for point in frontier[:-1]]
    assert rising == sorted(set(rising))  # a dearer one that is no more accurate is not kept
    for point in frontier:
        assert point.figures == observations.figures(observations.exits(point.thresholds))
    if exits > 2:
        gaps = [(p.figures.accuracy or 0) - (p.held_out.accuracy or 0) for p in frontier]
        assert np.mean(gaps) > 0


def test_the_best_choice_lies_on_the_frontier() -> None:
    observations = observe(4, 200, 3)
    result = calibrate(observations, MaxMacs(0.6))
    cheaper = [
        point.figures.accuracy or 0
        for point in result.frontier
        if point.figures.expected_macs <= result.chosen.expected_macs
    ]
    assert max(cheaper) == result.chosen.accuracy


def test_without_labels_the_last_exit_stands_in_for_them() -> None:
    seen = observe(6, 500, 3)
    agrees = seen.correct == seen.correct[:, -1:]
    unlabelled = Observations(seen.scores, agrees, seen.cumulative_macs, agrees, None, False)
    result = calibrate(unlabelled, MaxMacs(0.6))
    assert result.chosen.accuracy is None
    assert result.chosen.full_accuracy is None
    same = calibrate(replace(unlabelled, labelled=True), MaxMacs(0.6))
    assert same.thresholds == result.thresholds
    assert result.chosen.agreement == same.chosen.accuracy
    assert unlabelled.exit_accuracy is None


@pytest.mark.parametrize("images", [1, 2, 30, 500])
@pytest.mark.parametrize("target", TARGETS[1:7], ids=str)
def test_thresholds_lie_midway_between_neighbouring_scores(images: int, target: Target) -> None:
    observations = observe(7, images, 3)
    thresholds, _ = choose(observations, target)
    for threshold, column in zip(thresholds, observations.scores.T, strict=False):
        assert np.isclose(midpoints(column), threshold, rtol=1e-12, atol=0).any()


def test_an_image_leaves_below_the_threshold_and_stays_at_it() -> None:
    scores = np.array([[0.3, 9.0], [0.2999, 9.0], [0.0, 9.0], [5.0, 9.0]])
    observations = Observations(scores, np.ones((4, 2), bool), np.array([1.0, 2.0]))
    assert observations.exits((0.3,)).tolist() == [1, 0, 0, 1]
    assert observations.exits((0.0,)).tolist() == [1, 1, 1, 1]
    assert observations.exits((math.inf,)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_no_threshold_hangs_on_the_rounding_of_a_score(target: Target) -> None:
    observations = observe(1, 200, 3, step=0.25)
    thresholds, _ = choose(observations, target)
    for threshold, column in zip(thresholds, observations.scores.T, strict=False):
        assert threshold == 0 or threshold not in column


@pytest.mark.parametrize("value", [0.0, 0.37, math.inf])
@pytest.mark.parametrize("exits", [1, 2, 4])
def test_a_threshold_is_the_same_at_every_exit(value: float, exits: int) -> None:
    result = calibrate(observe(0, 50, exits), Threshold(value))
    assert result.thresholds == (value,) * (exits - 1)
    assert result.met


def test_given_thresholds_are_used_as_they_are() -> None:
    observations = observe(0, 50, 3)
    result = calibrate(observations, Threshold.of((0.0, 0.37)))
    assert result.thresholds == (0.0, 0.37)
    assert result.chosen == observations.figures(observations.exits((0.0, 0.37)))
    assert result.held_out == result.chosen
    stored = TargetDocument.of(result.target)
    assert stored.value == ["never", 0.37]
    assert stored.read() == result.target


@pytest.mark.parametrize("exits", [2, 3, 4])
def test_a_budget_below_the_first_exit_is_not_met_and_everything_leaves_there(exits: int) -> None:
    costs = [4.0, 6.0, 8.0, 10.0][:exits]
    observations = observe(0, 40, exits, costs=costs)
    result = calibrate(observations, MaxMacs(0.1))
    assert not result.met_where_chosen
    assert result.chosen.exit_rates == (1.0,) + (0.0,) * (exits - 1)
    assert result.chosen.expected_macs == pytest.approx(4)


@pytest.mark.parametrize("exits", [3, 4, 5])
def test_among_equals_the_more_cautious_thresholds_are_chosen(exits: int) -> None:
    observations = observe(0, 60, exits, costs=[4.0, 6.0, 8.0, 10.0, 11.0][:exits])
    thresholds, _ = choose(observations, MaxMacs(0.1))
    assert thresholds == (math.inf, *[0.0] * (exits - 2))  # no image gets to the others
    same = replace(observations, correct=np.ones((60, exits), bool))
    free = replace(same, cumulative_macs=np.ones(exits))
    assert choose(free, MaxDrop(0.0))[0] == (0.0,) * (exits - 1)


@pytest.mark.parametrize("exits", [2, 3])
def test_a_budget_of_exactly_the_first_exit_is_met(exits: int) -> None:
    observations = observe(0, 40, exits, costs=[3.0, 6.0, 10.0][-exits:])
    share = observations.cumulative_macs[0] / observations.cumulative_macs[-1]
    result = calibrate(observations, MaxMacs(float(share)))
    assert result.met
    assert result.chosen.exit_rates[0] == 1


@pytest.mark.parametrize("exits", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_no_drop_can_always_be_met(exits: int, seed: int) -> None:
    observations = observe(seed, 60, exits)
    result = calibrate(observations, MaxDrop(0.0))
    assert result.met_where_chosen
    assert result.chosen.accuracy >= result.chosen.full_accuracy
    assert result.chosen.expected_macs <= observations.cumulative_macs[-1] * (1 + 1e-9)


@pytest.mark.parametrize("images", [1, 3, 50])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_network_with_one_exit_has_no_thresholds(images: int, target: Target) -> None:
    observations = observe(0, images, 1)
    result = calibrate(observations, target)
    assert result.thresholds == ()
    assert result.chosen == result.held_out
    assert result.chosen.accuracy == result.chosen.full_accuracy
    reached = {
        "max_drop": True,
        "min_accuracy": observations.full_accuracy >= target.value,
        "max_macs": target.value == 1,
    }
    assert result.met == reached[target.kind]


@pytest.mark.parametrize("images", [1, 2, 4, 5, 6])
@pytest.mark.parametrize("target", [TARGETS[1], TARGETS[5]], ids=str)
def test_a_handful_of_images_is_enough_to_run(images: int, target: Target) -> None:
    result = calibrate(observe(0, images, 3), target)
    assert result.images == images
    for figures in (result.chosen, result.held_out):
        assert sum(figures.exit_rates) == pytest.approx(1)
        assert 0 <= figures.accuracy <= 1


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_the_order_of_the_images_changes_no_threshold(target: Target) -> None:
    for seed in range(3):
        for exits in (2, 3, 4):
            observations = observe(seed, 150, exits, costs=[1.0, 2.0, 3.0, 4.0][:exits])
            order = np.random.default_rng(seed).permutation(150)
            shuffled = Observations(
                observations.scores[order],
                observations.correct[order],
                observations.cumulative_macs,
            )
            assert choose(shuffled, target) == choose(observations, target)


def test_labels_change_no_exit() -> None:
    one = observe(0, 300, 3)
    other = Observations(one.scores, ~one.correct, one.cumulative_macs)
    for thresholds in ((0.1, 0.4), (0.0, 0.3), (math.inf, 0.0), (0.5, math.inf)):
        np.testing.assert_array_equal(one.exits(thresholds), other.exits(thresholds))
        assert one.under(thresholds).exit_rates == other.under(thresholds).exit_rates
        assert one.under(thresholds).accuracy != other.under(thresholds).accuracy


@pytest.mark.parametrize(
    "thresholds", [(0.2, 0.5), (0.5, 0.2), (0.0, 0.0), (math.inf, 0.1), (0.0, math.inf)]
)
def test_the_exits_are_those_of_the_exit_rule(thresholds: tuple[float, float]) -> None:
    observations = observe(3, 400, 3, step=0.1)
    rule = first_exit(torch.from_numpy(observations.scores), thresholds)
    np.testing.assert_array_equal(observations.exits(thresholds), rule.numpy())
    assert len(np.unique(observations.exits((0.2, 0.5)))) == 3


def test_the_last_exit_keeps_what_has_not_left_whatever_its_score() -> None:
    scores = np.array([[1.0, math.inf], [1.0, 0.0]])
    observations = Observations(scores, np.ones((2, 2), bool), np.array([1.0, 2.0]))
    assert observations.exits((0.5,)).tolist() == [1, 1]


def test_the_figures_are_those_of_the_chosen_thresholds() -> None:
    observations = observe(2, 200, 3)
    result = calibrate(observations, MaxDrop(3.0))
    exits = observations.exits(result.thresholds)
    assert result.images == 200
    assert result.chosen.full_accuracy == observations.correct[:, 2].mean()
    assert result.chosen.accuracy == observations.correct[np.arange(200), exits].mean()
    assert result.chosen.expected_macs == pytest.approx(observations.cumulative_macs[exits].mean())
    assert result.chosen.exit_rates == tuple(np.bincount(exits, minlength=3) / 200)


def test_the_held_out_figure_is_not_the_one_it_was_chosen_on() -> None:
    gaps = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        noise = Observations(
            generator.uniform(size=(100, 3)),
            generator.uniform(size=(100, 3)) < 0.7,
            np.array([1.0, 2.0, 3.0]),
        )
        result = calibrate(noise, MaxDrop(1.0))
        gaps.append(result.chosen.accuracy - result.held_out.accuracy)
    assert np.mean(gaps) > 0.005
    assert np.mean(gaps) > 2 * np.std(gaps) / math.sqrt(20)


@pytest.mark.parametrize("exits", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_a_larger_drop_never_costs_more(exits: int, seed: int) -> None:
    observations = observe(seed, 120, exits)
    costs = [
        calibrate(observations, MaxDrop(points)).chosen.expected_macs
        for points in (0, 0.5, 1, 2, 5, 10, 50, 100)
    ]
    assert all(later <= before * (1 + 1e-9) for before, later in pairwise(costs))
    assert costs[-1] == pytest.approx(observations.cumulative_macs[0])
    assert costs[-1] < costs[0]


@pytest.mark.parametrize("exits", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_a_larger_budget_is_never_less_accurate(exits: int, seed: int) -> None:
    observations = observe(seed, 120, exits)
    results = [calibrate(observations, MaxMacs(share)) for share in (0.05, 0.3, 0.5, 0.7, 0.9, 1)]
    met = [result.chosen.accuracy for result in results if result.met_where_chosen]
    assert met == sorted(met)
    assert met[-1] >= observations.full_accuracy
    full = observations.cumulative_macs[-1]
    assert all(
        result.chosen.expected_macs <= result.target.value * full * (1 + 1e-8)
        for result in results
        if result.met_where_chosen
    )
