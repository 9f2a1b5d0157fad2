"""Ctrl-C and SIGTERM as a wish that is granted after the step under way."""

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
    """number: of the signal that came, None before one does."""

    number: int | None = None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note the first signal; a second one stops at once, as if nobody listened.

    Only a process's main thread can listen; in another one nothing is noted.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        request.number = number
        restore()

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()


def interrupted() -> bool:
    """Whether Ctrl-C was pressed, whatever became of the exception that it raised."""
    return bool(_interrupts)


def note_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, as it does, and keep it from getting lost.

    Where it comes inside of what Python calls by the way, such as a finaliser, Python would print a
    traceback and go on: it is raised again a moment later.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # whoever started this process wants it to be left alone
    shown = sys.unraisablehook

    def note(number: int, frame: FrameType | None) -> None:
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
            shown(lost)

    signal.signal(signal.SIGINT, note)
    sys.unraisablehook = raise_again
