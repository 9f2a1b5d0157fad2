"""Two networks measured in turn: which is which, and by how much."""

from collections.abc import Sequence
from time import sleep

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from erde_cli.core.measurement.side_by_side import leaving_ms, measure_pairs
from erde_cli.core.runner.answers import ExportedAnswers


class Slow:
    """Takes some milliseconds for every exit that an image passes, and notes what it was given."""

    def __init__(self, milliseconds: float) -> None:
        self._milliseconds = milliseconds
        self.given: list[tuple[int, tuple[float, ...]]] = []

    def answer(
        self, pixels: NDArray[np.uint8], thresholds: Sequence[float] | None = None
    ) -> ExportedAnswers:
        own = tuple(thresholds or ())
        self.given.append((len(pixels), own))
        passed = next((at for at, theta in enumerate(own) if theta == np.inf), len(own))
        sleep((passed + 1) * self._milliseconds / 1000)
        nothing = np.zeros(len(pixels), np.int64)
        return ExportedAnswers(nothing, nothing, np.zeros((len(pixels), 2), np.float32))


def test_the_first_stays_the_first_and_the_ratio_is_second_over_first() -> None:
    first, second = Slow(1), Slow(3)
    pixels = torch.zeros(9, 8, 8, 3, dtype=torch.uint8)
    told: list[tuple[int, int]] = []
    found = measure_pairs(
        (first, second), pixels, 4, ([0.25], [0.5]), 3, lambda *done: told.append(done)
    )
    assert (found.batch, found.images, found.rounds) == (4, 8, 3)
    assert [pair.exit for pair in found.pairs] == [0, 1, None]
    for exit_, pair in enumerate(found.pairs[:2]):
        assert 0.25 * (exit_ + 1) <= pair.first.timing.median  # ms per image, four in a call
        assert pair.first.timing.median < pair.second.timing.median
        assert 1.2 < pair.ratio < 4
    assert found.pairs[2].first.timing.calls == 6
    assert found.pairs[2].first.mean == pytest.approx(found.pairs[2].first.timing.median, rel=0.5)
    assert set(first.given) == {(4, (np.inf,)), (4, (0.0,)), (4, (0.25,))}
    assert set(second.given) == {(4, (np.inf,)), (4, (0.0,)), (4, (0.5,))}
    assert told[-1] == (4, 4)


def test_leaving_is_timed_one_image_at_a_time() -> None:
    network = Slow(0.2)
    low, high = leaving_ms(network, torch.zeros(3, 8, 8, 3, dtype=torch.uint8), 2)
    assert 0.2 <= low < high
    assert {count for count, _ in network.given} == {1}
