"""Decode many files, in worker processes if that is faster."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain, islice
from queue import SimpleQueue
from subprocess import PIPE, Popen
from typing import TypeVar

from erde_cli.core.errors import ErdeError
from erde_cli.core.images.decoding import Decoded, decode_files
from erde_cli.core.images.decoding_pipe import Request, read_answer, request_of, write_request
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.platform.isolated import isolated_python

_SERVE = "from erde_cli.core.images.decoding_pipe import serve; serve()"
_FILES_AT_ONCE = 256
_BYTES_AT_ONCE = 8_000_000  # of pixels
_PAYS_FROM = 0.4  # seconds of work above which processes are faster
_SECONDS_PER_FILE, _SECONDS_PER_BYTE = 7e-5, 2e-8  # estimates of the work

PixelFormat = tuple[int, PixelRules]  # side of the decoded images in pixels, and the rules
_Key = TypeVar("_Key")
_Requests = Iterable[tuple[_Key, Request]]


def decode_in_order(
    paths: Sequence[str], pixel_format: PixelFormat, content: int
) -> Generator[tuple[int, Decoded], None, None]:
    """Decode files in order; yield the position of the first file of each chunk, and the chunk.

    Close the generator if it is not exhausted, to stop the worker processes. They are started, not
    forked, because the fork of a process with threads of torch can hang.

    Args:
        paths: of the files.
        pixel_format: side of the decoded images in pixels, and the rules.
        content: size of all files together, in bytes.

    Raises:
        ErdeError: a worker process has died, for example because memory is exhausted.
    """
    length = _length(pixel_format[0])
    requests = [
        (start, request_of(paths[start : start + length], *pixel_format))
        for start in range(0, len(paths), length)
    ]
    pays = _seconds(len(paths), content) > _PAYS_FROM
    with worker_processes(_SERVE, min(len(requests), cores()) if pays else 1) as processes:
        yield from answers_in_order(requests, _decode_here, processes)


def decode_stream(
    paths: Iterable[str], pixel_format: PixelFormat, multiple: int = 1
) -> Generator[tuple[Sequence[str], Decoded], None, None]:
    """Decode an unknown number of files in order; yield the paths of each chunk, and the chunk.

    This process decodes the first files. After enough work, worker processes take over, a few
    chunks ahead of the consumer. Close the generator if it is not exhausted.

    Args:
        paths: of the files, consumed as they are needed.
        pixel_format: side of the decoded images in pixels, and the rules.
        multiple: the number of files in every chunk but the last is a multiple of this.

    Raises:
        ErdeError: a worker process has died, for example because memory is exhausted.
    """
    length = -(-_length(pixel_format[0]) // multiple) * multiple
    remaining = iter(paths)
    chunks = iter(lambda: list(islice(remaining, length)), [])
    seconds = 0.0
    for chunk in chunks:
        if seconds > _PAYS_FROM:
            requests = ((part, request_of(part, *pixel_format)) for part in chain([chunk], chunks))
            with worker_processes(_SERVE, cores()) as processes:
                yield from answers_in_order(requests, _decode_here, processes)
            return
        decoded = decode_files(chunk, *pixel_format)
        seconds += _seconds(len(chunk), sum(_size(stamp) for stamp in decoded.stamps))
        yield chunk, decoded


def decode_arrived(
    paths: Iterable[str], pixel_format: PixelFormat
) -> Generator[tuple[Sequence[str], Decoded | None], None, None]:
    """Decode files in this process as their paths arrive; yield the paths and files of each chunk.

    Args:
        paths: of the files. "" means that the next path has not arrived: the chunk ends, even if
            it is empty.
        pixel_format: side of the decoded images in pixels, and the rules.
    """
    length = _length(pixel_format[0])
    chunk: list[str] = []
    for path in chain(paths, [""]):
        if path:
            chunk.append(path)
        if not path or len(chunk) == length:
            yield chunk, decode_files(chunk, *pixel_format) if chunk else None
            chunk = []


def _length(size: int) -> int:
    """Number of files in a chunk, for images of `size` pixels."""
    return max(1, min(_FILES_AT_ONCE, _BYTES_AT_ONCE // (size * size * 3)))


def _seconds(files: int, content: int) -> float:
    """Estimated seconds to decode files of `content` bytes in total."""
    return _SECONDS_PER_FILE * files + _SECONDS_PER_BYTE * content


def _size(stamp: str) -> int:
    return int(stamp.partition(" ")[0] or 0)


def _decode_here(request: Request) -> Decoded:
    return decode_files(request["paths"], request["size"], request["rules"])


def answers_in_order(
    requests: _Requests[_Key],
    here: Callable[[Request], Decoded],
    processes: list[Popen[bytes]],
) -> Generator[tuple[_Key, Decoded], None, None]:
    """Answer requests in order, in processes up to two requests each ahead of the consumer.

    The processes are killed if the iterator is closed before it is exhausted.

    Args:
        requests: with their keys, consumed as they are needed.
        here: answers a request in this process, if there are no others.
        processes: that answer requests; nothing else may use them meanwhile.

    Raises:
        ErdeError: a process has died, for example because memory is exhausted.
    """
    if processes:
        yield from _answers_of(processes, requests)
    else:
        for key, request in requests:
            yield key, here(request)


def _answers_of(
    processes: list[Popen[bytes]], requests: _Requests[_Key]
) -> Iterator[tuple[_Key, Decoded]]:
    """Answer requests in processes, each driven by a thread."""
    count = len(processes)
    idle: SimpleQueue[Popen[bytes]] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def answer(request: Request) -> Decoded:
        process = idle.get()
        try:
            return _answer_of(process, request)
        finally:
            idle.put(process)

    with ThreadPoolExecutor(count) as pool:
        waiting: deque[tuple[_Key, Future[Decoded]]] = deque()
        try:
            for key, request in requests:
                waiting.append((key, pool.submit(answer, request)))
                if len(waiting) > 2 * count:  # keeps every process busy
                    first, future = waiting.popleft()
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        except BaseException:  # also Ctrl-C, or a closed generator
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()  # its thread waits for an answer
            raise


@contextmanager
def worker_processes(code: str, count: int) -> Iterator[list[Popen[bytes]]]:
    """Start processes that run `code`: none instead of one, fewer if the system refuses more."""
    command = isolated_python(code)
    processes: list[Popen[bytes]] = []
    with suppress(OSError):
        for _ in range(count if count > 1 else 0):
            # In its own group: only this process receives Ctrl-C, and stops the others.
            started = Popen(command, stdin=PIPE, stdout=PIPE, process_group=0)  # noqa: S603
            processes.append(started)
    try:
        yield processes
    finally:
        for process in processes:
            with suppress(BrokenPipeError), process:  # closes its pipes, which ends it; waits
                pass


def _answer_of(process: Popen[bytes], request: Request) -> Decoded:
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    try:
        write_request(process.stdin, request)
        return read_answer(process.stdout)
    except (EOFError, OSError, ValueError) as error:
        raise ErdeError(
            "A process that decodes images died.",
            got=f"exit code {process.poll()}, between {request['paths'][0]} and "
            f"{request['paths'][-1]}",
            expected="a process that decodes all files",
            hint="check if memory is exhausted or if one of the files crashes Pillow",
        ) from error


def cores() -> int:
    """Number of cores that this process can use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
