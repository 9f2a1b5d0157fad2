"""One failure: one message on stderr, one JSON object where that was asked for, one exit code."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from erde_cli.commands.views.json_stream import print_object
from erde_cli.commands.views.printable import printable

STOPPED = 130  # 128 + SIGINT


def failure(kind: str, message: str, exit_code: int, hint: str = "") -> dict[str, Any]:
    """The object that `--json` prints."""
    fields = {"type": kind, "message": message, "got": "", "expected": "", "hint": hint}
    return {"error": {**fields, "exit_code": exit_code}}


def fail(given: list[str], document: dict[str, Any], text: str) -> int:
    """Report a failure, as far as somebody still reads; return its exit code."""
    with suppress(OSError):
        sys.stderr.write(f"Error: {printable(text)}\n")
    if "--json" in given:
        with suppress(OSError):
            print_object(document)
            sys.stdout.flush()
    exit_code: int = document["error"]["exit_code"]
    return exit_code


def stopped(given: list[str]) -> int:
    """Report that Ctrl-C ended a command, and how to go on."""
    text = "Stopped."
    if given[:1] in (["run"], ["compare"]):
        text += " Finished phases are kept: type the same command to go on."
    return fail(given, failure("Stopped", text, STOPPED), text)
