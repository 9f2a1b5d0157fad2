"""Two networks measured in turn: which is which, and by how much."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from erde_cli.core.measurement.side_by_side import leaving_ms, measure_pairs
from erde_cli.core.runner.answers import ExportedAnswers

from .conftest import Clock


class Slow:
    """Takes some milliseconds for every exit that an image passes, and notes what it was given."""

    def __init__(self, milliseconds: float, clock: Clock) -> None:
        self._milliseconds, self._clock = milliseconds, clock
        self.given: list[tuple[int, tuple[float, ...]]] = []

    def answer(
        self, pixels: NDArray[np.uint8], thresholds: Sequence[float] | None = None
    ) -> ExportedAnswers:
        own = tuple(thresholds or ())
        self.given.append((len(pixels), own))
        passed = next((at for at, theta in enumerate(own) if theta == np.inf), len(own))
        self._clock.advance((passed + 1) * self._milliseconds / 1000)
        nothing = np.zeros(len(pixels), np.int64)
        return ExportedAnswers(nothing, nothing, np.zeros((len(pixels), 2), np.float32))


def test_the_first_stays_the_first_and_the_ratio_is_second_over_first(
    clock: Clock,
) -> None:
    first, second = Slow(1, clock), Slow(3, clock)
    pixels = torch.zeros(9, 8, 8, 3, dtype=torch.uint8)
    told: list[tuple[int, int]] = []
    found = measure_pairs(
        (first, second), pixels, 4, ([0.25], [0.5]), 3, lambda *done: told.append(done)
    )
    assert (found.batch, found.images, found.rounds) == (4, 8, 3)
    assert [pair.exit for pair in found.pairs] == [0, 1, None]
    for pair, passed in zip(found.pairs, (1, 2, 2), strict=True):  # ms per image, four in a call
        assert pair.first.timing.median == pytest.approx(passed / 4, 0.01)
        assert pair.second.timing.median == pytest.approx(3 * passed / 4, 0.01)
        assert pair.ratio == pytest.approx(3, 0.01)
    assert found.pairs[2].first.timing.calls == 6
    assert found.pairs[2].first.mean == pytest.approx(0.5, 0.01)
    assert set(first.given) == {(4, (np.inf,)), (4, (0.0,)), (4, (0.25,))}
    assert set(second.given) == {(4, (np.inf,)), (4, (0.0,)), (4, (0.5,))}
    assert told[-1] == (4, 4)


def test_leaving_is_timed_one_image_at_a_time(clock: Clock) -> None:
    network = Slow(0.2, clock)
    found = leaving_ms(network, torch.zeros(3, 8, 8, 3, dtype=torch.uint8), 2)
    assert found == pytest.approx([0.2, 0.4], 0.01)
    assert {count for count, _ in network.given} == {1}
