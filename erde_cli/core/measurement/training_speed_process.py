"""A candidate of `erde tune` in its own process, so that a native crash skips that candidate."""

from __future__ import annotations

import json
from contextlib import suppress
from subprocess import DEVNULL, PIPE, Popen
from threading import Timer
from typing import Any

from erde_cli.core.figures import duration
from erde_cli.core.measurement.training_speed import TrialError
from erde_cli.core.platform.isolated import isolated_python

_SERVE = "from erde_cli.core.workflows.tune_worker import serve; serve()"


class TrialProcess:
    """Trains in a process that starts with the first call and ends with `close`.

    Requests and answers are lines of JSON: first the settings, then numbers of steps.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._process: Popen[bytes] | None = None

    def __call__(self, steps: int, limit: float) -> float:
        """Images per second over a number of steps; raises `TrialError` as every `Trial`."""
        if self._process is None:
            # Its own process group: Ctrl-C reaches only this process, which stops the other.
            self._process = Popen(  # noqa: S603
                isolated_python(_SERVE), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, process_group=0
            )
            self._send(self._process, self._request)
        self._send(self._process, {"steps": steps})
        answer = self._answer(self._process, limit)
        if "failed" in answer:
            raise TrialError(str(answer["failed"]))
        return float(answer["images_per_second"])

    def close(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            with suppress(BrokenPipeError), self._process:  # closes its pipes and waits
                pass

    @staticmethod
    def _send(process: Popen[bytes], request: dict[str, Any]) -> None:
        assert process.stdin is not None  # noqa: S101
        with suppress(BrokenPipeError):  # it has crashed; reading the answer reports that
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()

    @staticmethod
    def _answer(process: Popen[bytes], limit: float) -> dict[str, Any]:
        assert process.stdout is not None  # noqa: S101
        late: list[bool] = []

        def stop() -> None:
            late.append(True)
            process.kill()

        timer = Timer(limit, stop)
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            answer: dict[str, Any] = json.loads(line)
            return answer
        code = process.wait()
        if late:
            raise TrialError(f"no answer within {duration(limit)}")
        raise TrialError(f"crashed, signal {-code}" if code < 0 else f"ended with exit code {code}")
