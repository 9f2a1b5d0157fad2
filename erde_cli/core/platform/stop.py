"""Ctrl-C and SIGTERM as a request to stop after the current step."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_MOMENT = 0.05  # seconds
_interrupts: list[int] = []


@dataclass
class StopRequest:
    """number: of the received signal; None before one is received.

    ends: whether this process is about to end with all others, so that no later signal matters.
    """

    number: int | None = None
    ends: bool = False


@contextmanager
def stop_requests(*, patient: bool = False) -> Iterator[StopRequest]:
    """Record the first signal; a second one stops the process at once, unless it is `patient`.

    torchrun sends a second signal to processes that are about to stop together.

    Only the main thread of a process can handle signals; in other threads nothing is recorded.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def record(number: int, frame: FrameType | None) -> None:
        del frame
        request.number = request.number or number
        if not patient:
            restore()

    for number in _SIGNALS:
        signal.signal(number, record)
    try:
        yield request
    finally:
        if request.ends:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        else:
            restore()


def interrupted() -> bool:
    """Whether Ctrl-C was pressed, even if its exception was lost."""
    return bool(_interrupts)


def note_interrupts() -> None:
    """Record Ctrl-C, and raise its KeyboardInterrupt again if Python drops it.

    Python drops exceptions in finalisers and similar callbacks: it prints a traceback and
    continues.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # the parent process ignores SIGINT, or a caller handles it
    show = sys.unraisablehook

    def record(number: int, frame: FrameType | None) -> None:
        del frame
        _interrupts.append(number)
        raise KeyboardInterrupt

    def raise_again(lost: sys.UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            main = threading.main_thread().ident or 0
            again = threading.Timer(_MOMENT, signal.pthread_kill, (main, signal.SIGINT))
            again.daemon = True
            again.start()
        else:
            show(lost)

    signal.signal(signal.SIGINT, record)
    sys.unraisablehook = raise_again
