"""A clock that tests advance, in place of the one that measurements in rounds read."""

import pytest

from erde_cli.core.measurement import rounds


class Clock:
    """Seconds since the start of a test; a microsecond passes with each reading."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 1e-6
        return self._now

    def advance(self, seconds: float) -> None:
        """Let some time pass."""
        self._now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of measurements in rounds."""
    clock = Clock()
    monkeypatch.setattr(rounds, "perf_counter", clock)
    return clock
