"""Thresholds in single precision: what `score < θ` says must not change."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from erde_cli.core.onnx_session import float32_from_above

NATS = st.floats(0, 10, allow_nan=False)


@given(NATS, st.integers(-3, 3))
def test_no_score_changes_sides(threshold: float, steps: int) -> None:
    score = np.float32(threshold)
    for _ in range(abs(steps)):
        score = np.nextafter(score, np.float32(math.copysign(math.inf, steps)))
    (narrow,) = float32_from_above([threshold])
    assert (score < narrow) == (float(score) < threshold)


def test_never_and_always_stay() -> None:
    assert float32_from_above([0.0, math.inf]).tolist() == [0.0, math.inf]
