"""Signals as a request to stop, of one process and of several that stop together."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from erde_cli.core.platform.stop import stop_requests

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _ReceivedError(Exception):
    """Raised by the handlers before."""


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    def handle(number: int, frame: object) -> None:
        raise _ReceivedError(number)

    before = [signal.signal(number, handle) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_a_request_and_the_second_one_is_not(number: int) -> None:
    with stop_requests() as request:
        send(number)
        assert request.number == number
        with pytest.raises(_ReceivedError):
            send(number)
    with pytest.raises(_ReceivedError):
        send(number)


def test_several_processes_stop_by_the_first_signal_whatever_follows() -> None:
    """torchrun sends SIGTERM to processes that a terminal has sent SIGINT, and once more later."""
    with stop_requests(patient=True) as request:
        send(signal.SIGINT)
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert request.number == signal.SIGINT
        request.ends = True
    for number in SIGNALS:
        send(number)  # nothing happens any more


def test_signals_end_a_process_again_that_has_finished_its_training() -> None:
    with stop_requests(patient=True):
        pass
    for number in SIGNALS:
        with pytest.raises(_ReceivedError):
            send(number)
