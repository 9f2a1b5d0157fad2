"""JSON from anyone's hands: small, shallow, each key once, every number finite."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

LARGEST = 16_000_000  # bytes; what erde writes has some kilobytes, and a name for each class
_DEEPEST = 40  # levels; what erde writes has under 10
_UNREADABLE = (ValueError, RecursionError, OSError)


class JsonError(ValueError):
    """What is wrong with a JSON text, in a few words."""


def load_json(path: Path, largest: int = LARGEST) -> Any:
    """Read one JSON document; no more than `largest` bytes are ever taken into memory.

    Raises:
        JsonError: it cannot be read, is no JSON, or is larger or deeper than anything erde writes.
    """
    try:
        with path.open("rb") as handle:
            content = handle.read(largest + 1)
        if len(content) > largest:
            raise JsonError(f"it has more than {largest:,} bytes")
        return parse_json(content.decode())
    except JsonError:
        raise
    except _UNREADABLE as error:
        raise JsonError(str(error)) from error


def parse_json(text: str) -> Any:
    """Read a JSON text.

    Raises:
        JsonError: it is no JSON, a key stands twice, it is too deep, or a number is not finite.
    """
    try:
        document = json.loads(
            text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_each_once
        )
    except _UNREADABLE as error:
        raise JsonError(str(error)) from error
    _refuse_depth(document)
    return document


def _no_number(name: str) -> None:
    raise JsonError(f"{name} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise JsonError(f"{digits[:20]} is too large a number")
    return number


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonError(f"the key {twice[:60]!r} stands twice")
    return found


def _refuse_depth(document: Any) -> None:
    """Go down level by level: what is written by recursion would fail on a deep document."""
    level = [document]
    for _ in range(_DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise JsonError(f"it is nested more than {_DEEPEST} deep")
