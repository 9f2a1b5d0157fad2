"""Thresholds by balanced accuracy: against plain counts of each class, and what it is for."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from erde_cli.core.calibration.estimate import calibrate
from erde_cli.core.inference.by_class import by_class
from erde_cli.core.inference.observations import Observations, balancing
from erde_cli.core.thresholds.target import Target
from erde_cli.core.thresholds.targets import MaxDrop

from .test_estimate import TARGETS as BY_ACCURACY
from .test_estimate import all_midpoints, choose, observe

TARGETS = [replace(target, metric="balanced_accuracy") for target in BY_ACCURACY]
Ints = NDArray[np.int64]


def uneven(seed: int, images: int, exits: int, counts: list[int], step: float = 0) -> Observations:
    """Images of classes of unequal size; the rarer a class, the less the early exits know of it."""
    observed = observe(seed, images, exits, step=step)
    classes = np.resize(np.repeat(np.arange(len(counts)), counts), images)
    classes = np.random.default_rng(seed).permutation(classes)
    correct = observed.correct.copy()
    correct[classes == len(counts) - 1, 0] = False
    return replace(observed, correct=correct, classes=classes)


def by_hand(classes: Ints, right: NDArray[np.bool_]) -> float:
    """Mean over the classes that have images of the share that is right."""
    return float(np.mean([right[classes == one].mean() for one in sorted(set(classes.tolist()))]))


def right_of(seen: Observations, thresholds: tuple[float, ...]) -> NDArray[np.bool_]:
    return seen.correct[np.arange(len(seen)), seen.exits(thresholds)]


def key_of(
    seen: Observations, target: Target, thresholds: tuple[float, ...]
) -> tuple[float, float, float]:
    """Least violation, then the aim, then the other figure, by plain counts of each class."""
    assert seen.classes is not None
    found = by_hand(seen.classes, right_of(seen, thresholds))
    share = seen.under(thresholds).expected_macs / float(seen.cumulative_macs[-1])
    balanced, share = round(found, 9), round(share, 9)
    if target.kind in ("max_drop", "min_accuracy"):
        bound = target.value
        if target.kind == "max_drop":
            bound = by_hand(seen.classes, seen.correct[:, -1]) - target.value / 100
        return round(max(bound - balanced, 0), 8), share, -balanced
    return round(max(share - target.value, 0), 8), -balanced, share


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize(("exits", "images"), [(2, 25), (3, 13)])
def test_the_choice_is_as_good_as_brute_force(exits: int, images: int, target: Target) -> None:
    for seed, step in product(range(4), (0, 0.2)):
        seen = uneven(seed, images, exits, [8, 4, 1], step)
        thresholds, met = choose(seen, target)
        best = min(key_of(seen, target, one) for one in product(*all_midpoints(seen)))
        assert key_of(seen, target, thresholds) == best
        assert met == (best[0] == 0)


def test_early_exit_may_ruin_a_rare_class_by_accuracy_and_not_by_balanced_accuracy() -> None:
    """The first exit takes everything for the common class, a little less surely the rare one."""
    draw = np.random.default_rng(0)
    classes = np.repeat([0, 1], [950, 50])
    scores = np.stack([draw.uniform(0, 0.8, 1000) + 0.2 * classes, np.zeros(1000)], axis=1)
    correct = np.stack([classes == 0, np.ones(1000, dtype=bool)], axis=1)
    seen = Observations(scores, correct, np.array([1.0, 4.0]))
    drop = MaxDrop(5)
    recall = {}
    for found in (seen, replace(seen, classes=classes)):
        metric = "accuracy" if found.classes is None else "balanced_accuracy"
        chosen = calibrate(found, replace(drop, metric=metric))  # type: ignore[arg-type]
        assert chosen.met_where_chosen
        assert chosen.chosen.expected_macs < 3.5  # some leave early, and that saves something
        recall[metric] = right_of(found, chosen.thresholds)[classes == 1].mean()
    assert recall["accuracy"] == 0
    assert recall["balanced_accuracy"] >= 0.9


@pytest.mark.parametrize("exits", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("target", BY_ACCURACY, ids=str)
def test_with_classes_of_one_size_both_metrics_choose_the_same(exits: int, target: Target) -> None:
    for seed in range(3):
        plain = observe(seed, 60, exits, step=0.1)
        classes = np.random.default_rng(seed).permutation(np.arange(60) % 3)
        even = replace(plain, classes=classes)
        balanced = replace(target, metric="balanced_accuracy")
        assert choose(even, balanced) == choose(plain, target)
        if exits < 4:
            first, second = calibrate(plain, target), calibrate(even, balanced)
            assert [one.thresholds for one in first.frontier] == [
                one.thresholds for one in second.frontier
            ]


@pytest.mark.parametrize("target", [TARGETS[1], TARGETS[5], TARGETS[8]], ids=str)
def test_what_is_held_out_is_chosen_by_the_classes_of_four_fifths(target: Target) -> None:
    """The rarest class has one image: the fold that scores it is chosen without that class."""
    seen = uneven(2, 80, 3, [60, 19, 1], step=0.1)
    assert seen.classes is not None
    found = calibrate(seen, target)
    number = np.random.default_rng(0).permutation(80) % 5
    right, left = np.empty(80, dtype=bool), []
    for fold in range(5):
        rest = seen.only(number != fold)
        left.append(len(set(rest.classes.tolist())))  # type: ignore[union-attr]
        scored = seen.only(number == fold)
        best = min(key_of(rest, target, one) for one in product(*all_midpoints(rest)))
        thresholds, _ = choose(rest, target)
        assert key_of(rest, target, thresholds) == best
        right[number == fold] = right_of(scored, thresholds)
    assert sorted(left) == [2, 3, 3, 3, 3]
    assert found.held_out.balanced_accuracy == pytest.approx(
        by_hand(seen.classes, right), abs=1e-12
    )
    assert found.held_out.accuracy == right.mean()
    full = by_hand(seen.classes, seen.correct[:, -1])
    assert found.held_out.full_balanced_accuracy == pytest.approx(full, abs=1e-12)
    least = {"max_drop": full - target.value / 100, "min_accuracy": target.value}
    if target.kind in least:
        assert found.met == (by_hand(seen.classes, right) >= least[target.kind] - 1e-9)


def test_every_figure_is_the_mean_recall() -> None:
    seen = uneven(1, 300, 3, [20, 7, 3])
    assert seen.classes is not None
    found = calibrate(seen, TARGETS[1])
    for point in found.frontier:
        right = right_of(seen, point.thresholds)
        answers = np.where(right, seen.classes, (seen.classes + 1) % 3)
        exits = seen.exits(point.thresholds)
        counted = by_class("abcd", seen.classes, answers, exits, seen.cumulative_macs)
        assert point.figures.balanced_accuracy == pytest.approx(counted.balanced_accuracy)
        assert point.figures.accuracy == right.mean()
    by_exit = [by_hand(seen.classes, column) for column in seen.correct.T]
    assert seen.exit_balanced_accuracy == pytest.approx(by_exit, abs=1e-12)
    rising = [point.figures.balanced_accuracy or 0 for point in found.frontier[:-1]]
    assert rising == sorted(set(rising))


PRIMES = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73]


@pytest.mark.parametrize("counts", [[6, 4], [1], [1, 1000], PRIMES, [10**6, 1, 2**20 + 7]], ids=str)
def test_weights_are_whole_and_every_class_weighs_the_same(counts: list[int]) -> None:
    classes = np.repeat(10 * np.arange(len(counts)), counts)  # numbers between have no images
    weights = balancing(classes)
    assert (weights == np.rint(weights)).all()
    assert weights.sum() < 2**53
    sums = np.bincount(classes, weights)[::10] / weights.sum()
    assert sums == pytest.approx([1 / len(counts)] * len(counts), rel=1e-9)


def test_small_classes_have_the_smallest_weights_that_are_exact() -> None:
    assert balancing(np.array([3, 3, 3, 3, 0, 0, 0, 0, 0, 0])).tolist() == [3] * 4 + [2] * 6
    assert balancing(np.array([1, 0, 1, 0])).tolist() == [1] * 4


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_the_order_of_the_images_changes_no_threshold(target: Target) -> None:
    """Also where the classes are so many that their weights are rounded."""
    for counts in ([3, 2, 1], PRIMES):
        seen = uneven(0, sum(counts), 3, counts)
        order = np.random.default_rng(1).permutation(len(seen))
        assert choose(seen.only(order), target) == choose(seen, target)


def test_balanced_accuracy_needs_classes_and_accuracy_wants_none() -> None:
    seen = uneven(0, 30, 2, [2, 1])
    for observed, target in ((replace(seen, classes=None), TARGETS[0]), (seen, BY_ACCURACY[0])):
        with pytest.raises(ValueError, match="class of every image"):
            calibrate(observed, target)  # type: ignore[arg-type]
    assert seen.only(np.array([3, 1])).classes is not None
    assert math.isclose(seen.full_by_metric, by_hand(seen.classes, seen.correct[:, -1]))  # type: ignore[arg-type]
