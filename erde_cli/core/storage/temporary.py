"""Files and folders that are being written: held by their process, swept away once it is gone.

A process that is killed cannot tidy up. So each holds what it is writing by a lock that ends with
it, and whoever comes next removes what nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_NEW, _OLD = ".erde-new-", ".erde-old-"
_RANDOM = 8  # characters that tempfile puts between prefix and suffix


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give an empty file next to `path`, with its ending; removed at the end, if still there."""
    with ExitStack() as stack:
        while True:
            # A short prefix: with the whole name, a long but legal one would not fit.
            name = f"{_NEW}{path.name[:20]}."
            handle, made = tempfile.mkstemp(path.suffix[:20], name, path.parent)
            temporary = Path(made)
            stack.callback(temporary.unlink, missing_ok=True)
            if _held(stack, handle, temporary):
                break
        yield temporary


@contextmanager
def new_folder(beside: Path) -> Iterator[Path]:
    """Give an empty folder next to a path; removed at the end, if still there."""
    with ExitStack() as stack:
        while True:
            temporary = Path(tempfile.mkdtemp(prefix=_NEW, dir=beside.parent))
            stack.callback(shutil.rmtree, temporary, ignore_errors=True)
            if _held(stack, os.open(temporary, os.O_RDONLY), temporary):
                break
        yield temporary


@contextmanager
def set_aside(folder: Path) -> Iterator[None]:
    """Give the place of a folder to another; it comes back if none takes it, else it is removed."""
    with tempfile.TemporaryDirectory(prefix=_NEW, dir=folder.parent) as made:
        random = Path(made).name[-_RANDOM:]
    with ExitStack() as stack:
        _held(stack, os.open(folder, os.O_RDONLY), folder)
        old = folder.replace(folder.parent / f"{_OLD}{random}{folder.name}")
        try:
            yield
        finally:
            _bring_back(old)


def sweep(root: Path, *, deep: bool = False) -> None:
    """Remove what processes that are gone left half-written in a folder, or also below it.

    A folder that was set aside for a new one that never came is put back in its place.
    """
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            if name.startswith((_NEW, _OLD)):
                with suppress(OSError):
                    _tidy(Path(folder, name))
        folders[:] = [name for name in folders if deep and not name.startswith((_NEW, _OLD))]


def _held(stack: ExitStack, handle: int, path: Path) -> bool:
    """Hold an open file or folder until the stack ends; False if it was swept before that."""
    stack.callback(os.close, handle)
    with suppress(OSError):  # some file systems have no locks: then nothing is swept there, either
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _tidy(path: Path) -> None:
    """Remove or bring back what no living process holds.

    Raises:
        OSError: one does; or it is a link, or cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.name.startswith(_OLD):
            _bring_back(path)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _bring_back(old: Path) -> None:
    place = old.parent / old.name[len(_OLD) + _RANDOM :]
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.replace(place)
