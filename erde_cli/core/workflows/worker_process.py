"""A process that does one job and reports events, one line of JSON each."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from subprocess import PIPE, Popen

from erde_cli.core.platform.isolated import isolated_python
from erde_cli.core.storage.json_files import LARGEST, Json, JsonError, parse_json

_AT_ONCE = 65_536  # bytes


class WorkerProcess:
    """A process that reads one request from stdin and writes events to stdout.

    It is in a process group of its own, so that Ctrl-C reaches only this process, which decides
    when the other one stops. Its stdin stays open for as long as this process lives.

    Args:
        code: Python that serves the request.
        request: a JSON object.
        environment: variables that differ from this process.
    """

    def __init__(self, code: str, request: Json, environment: Mapping[str, str]) -> None:
        self._process = Popen(  # noqa: S603
            isolated_python(code), stdin=PIPE, stdout=PIPE, process_group=0,
            env={**os.environ, **environment},
        )  # fmt: skip
        self._rest = b""
        assert self._process.stdin is not None  # noqa: S101
        with suppress(BrokenPipeError):  # it has crashed; its exit code reports that
            self._process.stdin.write(json.dumps(request, allow_nan=False).encode() + b"\n")
            self._process.stdin.flush()

    def fileno(self) -> int:
        """The stream to wait for; then `read` does not block."""
        assert self._process.stdout is not None  # noqa: S101
        return self._process.stdout.fileno()

    def read(self) -> list[Json] | None:
        """Events that have arrived; None if no more will come.

        Raises:
            JsonError: what has arrived is no event.
        """
        part = os.read(self.fileno(), _AT_ONCE)
        if not part:
            return None
        *lines, self._rest = (self._rest + part).split(b"\n")
        if len(self._rest) > LARGEST:
            raise JsonError(f"a line is longer than {LARGEST:,} bytes")
        try:
            events = [parse_json(line.decode()) for line in lines]
        except UnicodeDecodeError as error:
            raise JsonError(str(error)) from error
        if not all(isinstance(event, dict) for event in events):
            raise JsonError("a line is not an object")
        return events

    def stop(self) -> None:
        """Ask it to save its progress and to end."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def end(self) -> int:
        """Wait for its end; its exit code, or minus the number of the signal that ended it."""
        with suppress(BrokenPipeError), self._process:  # closes its pipes and waits
            pass
        return self._process.returncode
