"""A failure: one message on stderr, one JSON object with --json, one exit code."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from erde_cli.commands.views.json_stream import print_object
from erde_cli.commands.views.printable import printable
from erde_cli.core.errors import error_object

STOPPED = 130  # 128 + SIGINT


def fail(given: list[str], document: dict[str, Any], text: str) -> int:
    """Report a failure, unless the streams are closed; return its exit code."""
    with suppress(OSError):
        sys.stderr.write(f"Error: {printable(text)}\n")
    if "--json" in given:
        with suppress(OSError):
            print_object(document)
            sys.stdout.flush()
    exit_code: int = document["error"]["exit_code"]
    return exit_code


def stopped(given: list[str]) -> int:
    """Report that Ctrl-C ended a command, and how to continue."""
    text = "Stopped."
    if given[:1] in (["run"], ["compare"]):
        text += " Finished phases are kept: type the same command to go on."
    return fail(given, error_object("Stopped", text, STOPPED), text)
