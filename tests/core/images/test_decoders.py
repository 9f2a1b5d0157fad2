"""Worker processes that decode images: none outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = """
import sys
from itertools import repeat
from erde_cli.core.images import decoders
from erde_cli.core.images.decoding_pipe import request_of
from erde_cli.core.images.pixels import DEFAULT_RULES
requests = repeat((0, request_of([sys.argv[1]] * 20, 512, DEFAULT_RULES)))
with decoders.worker_processes(decoders._SERVE, 2) as processes:
    print(*(process.pid for process in processes), flush=True)
    for _ in decoders.answers_in_order(requests, decoders._decode_here, processes):
        print("decoded", flush=True)
"""


def is_running(process: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_without_a_word_when_their_parent_does(number: int, tmp_path: Path) -> None:
    Image.new("RGB", (700, 500)).save(tmp_path / "photo.png")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "photo.png")]
    parent = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    assert parent.stdout is not None
    workers = [int(number) for number in parent.stdout.readline().split()]
    assert parent.stdout.readline() == "decoded\n"
    assert len(workers) == 2
    assert all(map(is_running, workers))
    os.killpg(parent.pid, number)  # as a terminal does
    _, err = parent.communicate(timeout=60)  # until the workers have closed stderr as well
    assert parent.returncode != 0
    assert err.count("Traceback") == (number == signal.SIGINT)  # that of the parent
    end = time.monotonic() + 20
    while any(map(is_running, workers)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(is_running, workers))
