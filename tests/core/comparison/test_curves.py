"""Curves of accuracy over cost: by hand, and the bootstrap against a plain loop."""

import math

import numpy as np
import pytest

from erde_cli.core.arrays import FloatArray
from erde_cli.core.comparison.curves import (
    BUDGETS,
    Curve,
    area,
    cost_curve,
    interpolated,
    one_threshold,
    resampled,
    with_ends,
)
from erde_cli.core.inference.observations import Observations
from erde_cli.core.randomness import derive_seed

MACS = np.array([25.0, 100.0])


def seen() -> Observations:
    """Four images; exit 0 is right on the first two, the last exit on the last three."""
    scores = np.array([[0.1, 0], [0.2, 0], [0.3, 0], [0.4, 0]])
    correct = np.array([[True, False], [True, True], [False, True], [False, True]])
    return Observations(scores, correct, MACS)


def test_one_threshold_goes_in_hundredths_from_never_to_the_largest_entropy_and_always() -> None:
    thetas = one_threshold(10)
    assert len(thetas) == 102
    assert (thetas[0], thetas[100], thetas[101]) == (0, math.log(10), math.inf)
    assert thetas[:101] == pytest.approx(np.linspace(0, math.log(10), 101).tolist())


def test_the_sweep_of_one_threshold_by_hand() -> None:
    # 0.693 nats in hundredths: image 0 leaves early from j = 15 on, then 1 (29), 2 (44), 3 (58)
    curve = cost_curve(seen(), [(theta,) for theta in one_threshold(2)])
    steps = [(15, 1.0, 0.75), (14, 0.8125, 1.0), (15, 0.625, 1.0), (14, 0.4375, 0.75),
             (44, 0.25, 0.5)]  # fmt: skip
    assert curve.cost.tolist() == [cost for count, cost, _ in steps for _ in range(count)]
    assert curve.accuracy.tolist() == [right for count, _, right in steps for _ in range(count)]
    assert curve.auc == pytest.approx((0.875 + 1 + 0.875 + 0.625) / 4)


def test_an_image_as_unsure_as_can_be_leaves_early_at_always_alone() -> None:
    unsure = Observations(np.full((1, 2), math.log(3)), np.array([[True, False]]), MACS)
    curve = cost_curve(unsure, [(theta,) for theta in one_threshold(3)])
    assert curve.cost.tolist() == [1.0] * 101 + [0.25]


def random_curve(seed: int, images: int = 40, points: int = 5) -> Curve:
    rng = np.random.default_rng(seed)
    scores = rng.random((images, 3))
    correct = rng.random((images, 3)) < [0.5, 0.6, 0.8]
    vectors = [tuple(rng.random(2)) for _ in range(points)]
    found = Observations(scores, correct, np.array([30.0, 60.0, 100.0]))
    return cost_curve(found, with_ends(vectors, 2))


def test_both_ends_are_among_the_vectors_once() -> None:
    never = (0.0, 0.0)
    found = with_ends([(0.1, 0.2), never, [0.1, 0.2]], 2)
    assert found == [(math.inf, math.inf), (0.1, 0.2), never]


def test_a_curve_has_realised_cost_and_accuracy() -> None:
    curve = cost_curve(seen(), with_ends([(0.25,)], 1))
    assert curve.cost.tolist() == [0.25, 0.625, 1.0]
    assert curve.accuracy.tolist() == [0.5, 1.0, 0.75]


def test_the_area_is_the_mean_accuracy_over_reachable_budgets() -> None:
    # (0.5 + 1)/2 on 0.375, (1 + 0.75)/2 on 0.375, over 0.75
    curve = cost_curve(seen(), with_ends([(0.25,)], 1))
    assert curve.auc == pytest.approx((0.75 + 0.875) / 2)


def test_the_order_of_the_points_is_their_cost_on_these_images() -> None:
    cost, accuracy = np.array([1.0, 0.2, 0.6]), np.array([0.9, 0.3, 0.5])
    assert area(cost, accuracy) == pytest.approx((0.4 * 0.4 + 0.4 * 0.7) / 0.8)
    assert interpolated(cost, accuracy, [0.4, 0.8]).tolist() == pytest.approx([0.4, 0.7])


def test_no_envelope_is_taken() -> None:
    cost, accuracy = np.array([0.2, 0.6, 1.0]), np.array([0.9, 0.1, 0.9])
    assert area(cost, accuracy) == pytest.approx(0.5)
    assert interpolated(cost, accuracy, [0.6]).tolist() == [0.1]


def test_budgets_below_the_first_exit_are_not_reachable() -> None:
    curve = cost_curve(seen(), with_ends([(0.25,)], 1))
    assert curve.at([0.2, 0.25, 0.4375, 1.0]) == [None, 0.5, 0.75, 0.75]
    assert curve.at()[0] is None
    assert len(curve.at()) == len(BUDGETS)


def test_a_network_of_one_cost_has_its_accuracy() -> None:
    curve = Curve(np.ones((4, 1)), np.array([[1.0], [1.0], [0.0], [1.0]]))
    assert curve.auc == 0.75
    assert curve.at([0.5, 1.0]) == [None, 0.75]


def test_the_area_is_the_integral() -> None:
    curve = random_curve(3)
    budgets = np.linspace(curve.cost.min(), 1, 200_001)
    values = interpolated(curve.cost, curve.accuracy, budgets)
    assert curve.auc == pytest.approx(values.mean(), abs=1e-5)


def brute_force(curve: Curve, draw: int) -> list[float | None]:
    """One draw, image by image."""
    count = len(curve.right)
    generator = np.random.Generator(np.random.Philox(derive_seed(0, "compare/images", draw)))
    picked = generator.integers(count, size=count)
    again = Curve(curve.costs[picked], curve.right[picked])
    return [again.auc, *again.at([0.1, 0.5, 0.8])]


def test_the_bootstrap_equals_a_loop_over_images() -> None:
    curves = [random_curve(1), random_curve(2)]
    found = resampled(curves, [0.1, 0.5, 0.8], draws=130)
    assert found.shape == (2, 130, 4)
    for number, curve in enumerate(curves):
        for draw in (0, 1, 99, 100, 129):
            expected = brute_force(curve, draw)
            assert expected[1] is None
            assert math.isnan(found[number, draw, 1])
            kept: FloatArray = np.delete(found[number, draw], 1)
            assert kept == pytest.approx(expected[:1] + expected[2:])


def test_the_same_curve_twice_differs_in_no_draw() -> None:
    found = resampled([random_curve(1), random_curve(2), random_curve(1)], draws=50)
    assert np.array_equal(found[0], found[2], equal_nan=True)
    assert np.std(found[0, :, 0]) > 0
    assert np.array_equal(found[1], resampled([random_curve(2)], draws=50)[0], equal_nan=True)


def test_curves_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        resampled([random_curve(1), random_curve(1, images=41)])


def test_the_variance_of_an_accuracy_is_the_binomial_one() -> None:
    right = (np.arange(400) < 300).astype(float)[:, None]
    found = resampled([Curve(np.ones((400, 1)), right)], [1.0], draws=2000)
    assert np.var(found[0, :, 0]) == pytest.approx(0.75 * 0.25 / 400, rel=0.1)
    assert np.array_equal(found[0, :, 0], found[0, :, 1])
