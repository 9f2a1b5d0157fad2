"""One JSON object on stdout: written at the end, or row by row."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any, TextIO

_begun: list[JsonStream] = []  # at most one: an error is written into it


class JsonStream:
    """An object whose first value is a list, written row by row, one line each."""

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
        for row in rows:  # a line ends with its row: the comma begins the next line
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
    """Print an object on stdout; if one has been begun, add the keys to that one."""
    if _begun:
        _begun[0].end(document)
    else:
        sys.stdout.write(json.dumps(document) + "\n")
