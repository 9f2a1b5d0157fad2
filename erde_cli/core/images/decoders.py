"""Decode many files, in worker processes if that is faster."""

from __future__ import annotations

import os
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
_PAYS_FROM = 0.4  # seconds of work above which processes are faster
_SECONDS_PER_FILE, _SECONDS_PER_BYTE = 7e-5, 2e-8  # estimates of the work

PixelFormat = tuple[int, PixelRules]  # side of the decoded images in pixels, and the rules
_Key = TypeVar("_Key")
_Chunks = Iterable[tuple[_Key, Sequence[str]]]  # key and paths of each chunk


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
    chunks = [(start, paths[start : start + length]) for start in range(0, len(paths), length)]
    pays = _seconds(len(paths), content) > _PAYS_FROM
    yield from _decoded(chunks, pixel_format, min(len(chunks), _cores()) if pays else 1)


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
            work = ((part, part) for part in chain([chunk], chunks))
            yield from _decoded(work, pixel_format, _cores())
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


def _decoded(
    chunks: _Chunks[_Key], pixel_format: PixelFormat, count: int
) -> Iterator[tuple[_Key, Decoded]]:
    """Decode chunks in `count` processes, or in this one if there are no others."""
    with _processes(count if count > 1 else 0) as processes:
        if processes:
            yield from _decoded_by(processes, chunks, pixel_format)
        else:
            for key, paths in chunks:
                yield key, decode_files(paths, *pixel_format)


def _decoded_by(
    processes: list[Popen[bytes]], chunks: _Chunks[_Key], pixel_format: PixelFormat
) -> Iterator[tuple[_Key, Decoded]]:
    """Decode chunks in processes, each driven by a thread."""
    count = len(processes)
    idle: SimpleQueue[Popen[bytes]] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def decode(paths: Sequence[str]) -> Decoded:
        process = idle.get()
        try:
            return _request(process, paths, pixel_format)
        finally:
            idle.put(process)

    with ThreadPoolExecutor(count) as pool:
        waiting: deque[tuple[_Key, Future[Decoded]]] = deque()
        try:
            for key, paths in chunks:
                waiting.append((key, pool.submit(decode, paths)))
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
def _processes(count: int) -> Iterator[list[Popen[bytes]]]:
    """Start processes; fewer or none if the system refuses more."""
    command = isolated_python(_SERVE)
    processes: list[Popen[bytes]] = []
    with suppress(OSError):
        for _ in range(count):
            # In its own group: only this process receives Ctrl-C, and stops the others.
            started = Popen(command, stdin=PIPE, stdout=PIPE, process_group=0)  # noqa: S603
            processes.append(started)
    try:
        yield processes
    finally:
        for process in processes:
            with suppress(BrokenPipeError), process:  # closes its pipes, which ends it; waits
                pass


def _request(process: Popen[bytes], paths: Sequence[str], pixel_format: PixelFormat) -> Decoded:
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    try:
        write_request(process.stdin, paths, *pixel_format)
        return read_answer(process.stdout)
    except (EOFError, OSError, ValueError) as error:
        raise ErdeError(
            "A process that decodes images died.",
            got=f"exit code {process.poll()}, between {paths[0]} and {paths[-1]}",
            expected="a process that decodes all files",
            hint="check if memory is exhausted or if one of the files crashes Pillow",
        ) from error


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
