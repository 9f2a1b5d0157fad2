"""One JSON object on stdout, whole at the end, or written as its rows come."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any, TextIO

_begun: list[JsonStream] = []  # at most one: what an error has to stand in


class JsonStream:
    """An object whose first value is a list, written row by row, each of them a whole line."""

    def __init__(self, name: str, out: TextIO) -> None:
        self._name, self._out = name, out
        self._before = ""
        self.more: dict[str, Any] = {}

    def rows(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows; nothing is written before the first call."""
        if not self._before:
            _begun[:] = [self]
            self._out.write(f"{{{json.dumps(self._name)}: [\n")
            self._before = " "
        for row in rows:  # who reads lines has a row at its end: the comma stands before the next
            self._out.write(f"{self._before}{json.dumps(row, allow_nan=False)}\n")
            self._before = ","
        self._out.flush()

    def end(self, document: dict[str, Any]) -> None:
        """Write the other keys, `more` before them, and close the object."""
        self.rows([])
        _begun.clear()
        text = json.dumps({**self.more, **document}, allow_nan=False)
        self._out.write("], " + text[1:] + "\n")


def print_object(document: dict[str, Any]) -> None:
    """Print an object on stdout; where one has been begun, its keys go into that one."""
    if _begun:
        _begun[0].end(document)
    else:
        sys.stdout.write(json.dumps(document) + "\n")
