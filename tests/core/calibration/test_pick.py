"""Which stored point is picked."""

import pytest

from erde_cli.core.calibration.document import PointDocument
from erde_cli.core.calibration.pick import pick
from erde_cli.core.thresholds.target import Target
from erde_cli.core.thresholds.targets import MaxMacs, MinAccuracy


def point(macs: float, accuracy: float, balanced: float | None) -> PointDocument:
    return PointDocument(
        accuracy=accuracy, full_accuracy=0.9, balanced_accuracy=balanced,
        full_balanced_accuracy=None if balanced is None else 0.9, agreement=None,
        expected_macs=macs, expected_latency=None, exit_rates=[0.5, 0.5], thresholds=[macs],
        held_out=None, half_b_exits=[1, 1], certified=False, bounds=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("target", "place", "balanced_place"),
    [(MaxMacs(1), 1, 2), (MinAccuracy(0.8), 0, 2)],
)
def test_the_best_point_is_the_best_by_the_metric(
    target: Target, place: int, balanced_place: int
) -> None:
    figures = [(0.3, 0.84, 0.5), (0.5, 0.88, 0.7), (0.6, 0.85, 0.8)]
    plain = [point(macs, accuracy, None) for macs, accuracy, _ in figures]
    balanced = [point(*one) for one in figures]
    assert pick(plain, target, 1.0) == plain[place]
    assert pick(balanced, target, 1.0) == balanced[balanced_place]
