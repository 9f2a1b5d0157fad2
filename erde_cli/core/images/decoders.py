"""Many files decoded at once, by processes of their own where that pays."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain, islice
from queue import SimpleQueue
from subprocess import PIPE, Popen
from typing import TypeVar

from erde_cli.core.errors import ErdeError
from erde_cli.core.images.decoding import Decoded, decode_files
from erde_cli.core.images.decoding_pipe import read_answer, write_request
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.platform.isolated import isolated_python

_SERVE = "from erde_cli.core.images.decoding_pipe import serve; serve()"
_FILES_AT_ONCE = 256
_BYTES_AT_ONCE = 8_000_000  # of pixels
_PAYS_FROM = 0.4  # seconds of work
_SECONDS_PER_FILE, _SECONDS_PER_BYTE = 7e-5, 2e-8  # of work, roughly

Chunk = tuple[int, Decoded]
Wanted = tuple[int, PixelRules]  # side of the decoded images in pixels, and the rules
_Key = TypeVar("_Key")
_Work = Iterable[tuple[_Key, Sequence[str]]]  # what a chunk is known by, and its files


def decode_in_order(
    paths: Sequence[str], wanted: Wanted, content: int
) -> Generator[Chunk, None, None]:
    """Decode files: in order, the position of the first one of a chunk, and what they hold.

    Close it where it is not used up, so that no process goes on. They are started anew, not forked:
    a fork of a process in which torch runs threads may hang.

    Args:
        paths: of the files.
        wanted: side of the decoded images in pixels, and the rules they are made by.
        content: size of all files together, in bytes.

    Raises:
        ErdeError: a process has died, as when memory is exhausted.
    """
    length = _length(wanted[0])
    chunks = [(start, paths[start : start + length]) for start in range(0, len(paths), length)]
    pays = _seconds(len(paths), content) > _PAYS_FROM
    count = min(len(chunks), _cores()) if pays and sys.executable else 1
    if count == 1:
        yield from _here(chunks, wanted)
        return
    with _processes(count) as processes:
        yield from _beside(processes, chunks, wanted) if processes else _here(chunks, wanted)


def decode_stream(
    paths: Iterable[str], wanted: Wanted, multiple: int = 1
) -> Generator[tuple[Sequence[str], Decoded], None, None]:
    """Decode files of which nobody knows how many there are: in order, some paths and their files.

    The first ones are decoded here. Once that has taken as long as processes would have been worth,
    the rest is left to them, a few chunks ahead of whoever takes what this gives. Of the paths, no
    more are taken than are decoded. Close it where it is not used up.

    Args:
        paths: of the files, taken as they are needed.
        wanted: side of the decoded images in pixels, and the rules they are made by.
        multiple: of how many files there are in a chunk, the last one aside.

    Raises:
        ErdeError: a process has died, as when memory is exhausted.
    """
    length = -(-_length(wanted[0]) // multiple) * multiple
    rest = iter(paths)
    chunks = iter(lambda: list(islice(rest, length)), [])
    spent = 0.0
    for some in chunks:
        if spent > _PAYS_FROM and sys.executable and _cores() > 1:
            work = ((one, one) for one in chain([some], chunks))
            with _processes(_cores()) as processes:
                yield from _beside(processes, work, wanted) if processes else _here(work, wanted)
            return
        found = decode_files(some, *wanted)
        spent += _seconds(len(some), sum(_bytes(stamp) for stamp in found.stamps))
        yield some, found


def decode_arrived(
    paths: Iterable[str], wanted: Wanted
) -> Generator[tuple[Sequence[str], Decoded | None], None, None]:
    """Decode files as their paths arrive, here: in order, some paths and their files.

    Args:
        paths: of the files; "" where the next one is waited for. Whatever has arrived by then is
            decoded, be it nothing.
        wanted: side of the decoded images in pixels, and the rules they are made by.
    """
    length = _length(wanted[0])
    some: list[str] = []
    for path in chain(paths, [""]):
        if path:
            some.append(path)
        if not path or len(some) == length:
            yield some, decode_files(some, *wanted) if some else None
            some = []


def _length(size: int) -> int:
    """How many files are decoded at once."""
    return max(1, min(_FILES_AT_ONCE, _BYTES_AT_ONCE // (size * size * 3)))


def _seconds(files: int, content: int) -> float:
    """Work of decoding files that hold `content` bytes, roughly."""
    return _SECONDS_PER_FILE * files + _SECONDS_PER_BYTE * content


def _bytes(stamp: str) -> int:
    return int(stamp.partition(" ")[0] or 0)


def _here(chunks: _Work[_Key], wanted: Wanted) -> Iterator[tuple[_Key, Decoded]]:
    for start, some in chunks:
        yield start, decode_files(some, *wanted)


def _beside(
    processes: list[Popen[bytes]], chunks: _Work[_Key], wanted: Wanted
) -> Iterator[tuple[_Key, Decoded]]:
    """Let every process decode one chunk after the other, each watched by a thread."""
    count = len(processes)
    idle: SimpleQueue[Popen[bytes]] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def decode(some: Sequence[str]) -> Decoded:
        process = idle.get()
        try:
            return _ask(process, some, wanted)
        finally:
            idle.put(process)

    with ThreadPoolExecutor(count) as pool:
        waiting: deque[tuple[_Key, Future[Decoded]]] = deque()
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
    command = isolated_python(_SERVE)
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


def _ask(process: Popen[bytes], paths: Sequence[str], wanted: Wanted) -> Decoded:
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    try:
        write_request(process.stdin, paths, *wanted)
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
