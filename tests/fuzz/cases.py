"""What every fuzzer needs: seeded mutations of bytes and of JSON, and the one oracle."""

from __future__ import annotations

import json
import math
import random
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from erde_cli.core.errors import ErdeError

SECONDS_OF_A_CASE = 5
MEGABYTES_MORE = 1500  # than at the start; one image of as many pixels as Pillow takes needs 700

Case = Callable[[random.Random], Callable[[], object]]  # makes a case, whose call is the case

_INTERESTING = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"../",
    b"\x1b[31m",
)
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 10**6, 2**31, 2**63, 10**400, -(10**30), 0.0, -0.0, 0.5,
    -1.5, 1e-300, 1e300, "", "always", "never", "../../x", "/etc/passwd", "\x1b[2J[bold]", "\u202e",
    "a" * 5000, [], {}, [[]], [0], [1, 2], {"x": 1}, [None],
)  # fmt: skip


class FindingError(AssertionError):
    """Something other than a result, or an error with a hint."""


class _TooSlowError(Exception):
    pass


@dataclass
class Tally:
    """What a fuzzer did so far."""

    executions: int = 0
    refused: int = 0
    findings: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.executions:,} executions, {self.refused:,} refused, "
            f"{len(self.findings)} findings"
        )


def fuzz(
    case: Case,
    seed: int,
    *,
    seconds: float = math.inf,
    executions: float = math.inf,
    keep: Path | None = None,
) -> Tally:
    """Run cases until the time or their number is up; each kind of finding once, with its seed."""
    tally, end, number = Tally(), time.monotonic() + seconds, 0
    before = _peak_megabytes()
    while time.monotonic() < end and number < executions:
        drawn = f"{seed}/{number}"
        number += 1
        try:
            tally.refused += not execute(case(random.Random(drawn)))
        except FindingError as finding:
            _note(tally, drawn, str(finding), keep)
        if (grown := _peak_megabytes() - before) > MEGABYTES_MORE:
            _note(tally, drawn, f"memory grew by {grown:.0f} MB", keep)
            before = _peak_megabytes()
        tally.executions += 1
    return tally


def execute(run: Callable[[], object]) -> bool:
    """Run one case; whether it gave a result, and was not refused.

    Raises:
        FindingError: it took too long, or ended in another exception than an error with a hint.
    """
    try:
        with _limited():
            run()
    except ErdeError as error:
        told = error.hint or error.expected or error.got or getattr(error, "problems", None)
        if not told:  # a problem names its key and the rule
            raise FindingError(f"no help: {error}") from error
        return False
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in last if "erde_cli" in frame.filename] or last
        where = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        raise FindingError(f"{type(error).__name__} at {where}: {str(error)[:300]}") from error
    return True


def mutated(content: bytes, draw: random.Random) -> bytes:
    """A few changes: flipped, overwritten, removed, repeated, cut, inserted, numbers changed."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        place = draw.randrange(len(changed) + 1)
        if draw.random() < 0.4:
            place = min(place, draw.randrange(64))  # headers are where it matters
        length = draw.choice((1, 2, 4, 4, 16, 100))
        kind = draw.randrange(7)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[place : place + length] = draw.randbytes(length)
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = changed[place : place + length] * draw.choice((1, 2, 50))
        elif kind == 4:
            del changed[place:]
        elif kind == 5:
            changed[place:place] = draw.choice(_INTERESTING)
        else:
            chosen = draw.choice(_INTERESTING)
            changed[place : place + len(chosen)] = chosen
    return bytes(changed)


def mutated_json(document: Any, draw: random.Random) -> Any:
    """A copy with some values in it changed, removed, added or exchanged."""
    copy = json.loads(json.dumps(document))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        places = list(_places(copy))
        if not places:
            return _odd(draw)
        inside, key = draw.choice(places)
        kind = draw.randrange(6)
        if kind == 0:
            del inside[key]
        elif kind == 1:
            other, name = draw.choice(places)
            inside[key] = json.loads(json.dumps(other[name]))
        elif kind == 2 and isinstance(inside[key], int | float) and abs(inside[key]) < 2**100:
            inside[key] = inside[key] * draw.choice((-1, 2, 0.5, 1000, 1e9)) + draw.choice((0, 1))
        elif kind == 3 and isinstance(inside, dict):
            inside[draw.choice(("x", "__class__", "a" * 300, ""))] = _odd(draw)
        elif kind == 3:
            inside.insert(key, inside[key])
        else:
            inside[key] = _odd(draw)
    return copy


def _odd(draw: random.Random) -> Any:
    """A value of its own: what is changed later must not be changed for all."""
    return deepcopy(draw.choice(_ODD))


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    inner = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(inner):
        yield document, key
        if isinstance(value, dict | list):
            yield from _places(value)


@contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooSlowError(f"took more than {SECONDS_OF_A_CASE} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS_OF_A_CASE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _note(tally: Tally, drawn: str, text: str, keep: Path | None) -> None:
    kind = text.split(": ")[0]
    if kind not in tally.findings and keep is not None:
        with keep.open("a", encoding="utf-8") as handle:
            handle.write(f"{drawn}\t{text!r}\n")
    tally.findings[kind] = tally.findings.get(kind, 0) + 1
