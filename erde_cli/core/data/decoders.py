"""Many files decoded at once, by processes of their own where that pays."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from subprocess import PIPE, Popen

from erde_cli.core.decoding import Decoded, decode_files, read_answer, write_request
from erde_cli.core.errors import ErdeError

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from erde_cli.core.decoding import serve; serve()"
)
_FILES_AT_ONCE = 256
_BYTES_AT_ONCE = 8_000_000  # of pixels
_PAYS_FROM = 0.4  # seconds of work
_SECONDS_PER_FILE, _SECONDS_PER_BYTE = 7e-5, 2e-8  # of work, roughly

Chunk = tuple[int, Decoded]
_Paths = tuple[int, Sequence[str]]


def decode_in_order(paths: Sequence[str], size: int, content: int) -> Generator[Chunk, None, None]:
    """Decode files: in order, the position of the first one of a chunk, and what they hold.

    Close it where it is not used up, so that no process goes on. They are started anew, not forked:
    a fork of a process in which torch runs threads may hang.

    Args:
        paths: of the files.
        size: side of the decoded images, in pixels.
        content: size of all files together, in bytes.

    Raises:
        ErdeError: a process has died, as when memory is exhausted.
    """
    length = max(1, min(_FILES_AT_ONCE, _BYTES_AT_ONCE // (size * size * 3)))
    chunks = [(start, paths[start : start + length]) for start in range(0, len(paths), length)]
    work = _SECONDS_PER_FILE * len(paths) + _SECONDS_PER_BYTE * content
    count = min(len(chunks), _cores()) if work > _PAYS_FROM and sys.executable else 1
    if count == 1:
        yield from _here(chunks, size)
        return
    with _processes(count) as processes:
        yield from _beside(processes, chunks, size) if processes else _here(chunks, size)


def _here(chunks: list[_Paths], size: int) -> Iterator[Chunk]:
    for start, some in chunks:
        yield start, decode_files(some, size)


def _beside(processes: list[Popen[bytes]], chunks: list[_Paths], size: int) -> Iterator[Chunk]:
    """Let every process decode one chunk after the other, each watched by a thread."""
    count = len(processes)
    idle: SimpleQueue[Popen[bytes]] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def decode(some: Sequence[str]) -> Decoded:
        process = idle.get()
        try:
            return _ask(process, some, size)
        finally:
            idle.put(process)

    with ThreadPoolExecutor(count) as pool:
        waiting: deque[tuple[int, Future[Decoded]]] = deque()
        try:
            for start, some in chunks:
                waiting.append((start, pool.submit(decode, some)))
                if len(waiting) > 2 * count:  # as many again, so that nobody waits for us
                    first, future = waiting.popleft()
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        except BaseException:  # Ctrl-C, or nobody wants more
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()  # their threads wait for an answer
            raise


@contextmanager
def _processes(count: int) -> Iterator[list[Popen[bytes]]]:
    """Start processes; fewer, or none, where the system gives no more."""
    command = [sys.executable, "-S", "-E", "-c", _START, json.dumps(sys.path)]
    processes: list[Popen[bytes]] = []
    with suppress(OSError):
        for _ in range(count):
            # A group of their own: Ctrl-C is for this process, which stops them.
            started = Popen(command, stdin=PIPE, stdout=PIPE, process_group=0)  # noqa: S603
            processes.append(started)
    try:
        yield processes
    finally:
        for process in processes:
            with suppress(BrokenPipeError), process:  # closes its pipes, at which it ends; waits
                pass


def _ask(process: Popen[bytes], paths: Sequence[str], size: int) -> Decoded:
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    try:
        write_request(process.stdin, paths, size)
        return read_answer(process.stdout)
    except (EOFError, OSError, ValueError) as error:
        raise ErdeError(
            "A process that decodes images has died.",
            got=f"exit code {process.poll()}, between {paths[0]} and {paths[-1]}",
            hint="see whether memory is exhausted, or a file crashes Pillow",
        ) from error


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
