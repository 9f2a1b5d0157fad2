"""Temporary files and folders, locked by their process and removed after it ends.

A killed process cannot clean up. Each process therefore locks its temporary files, and the next
process removes those that are not locked.
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
_RANDOM = 8  # characters that tempfile inserts between prefix and suffix


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield an empty file next to `path` with the same suffix; it is removed at the end."""
    with ExitStack() as stack:
        while True:
            # With the whole name, the new name could exceed the length limit.
            name = f"{_NEW}{path.name[:20]}."
            handle, created = tempfile.mkstemp(path.suffix[:20], name, path.parent)
            temporary = Path(created)
            stack.callback(temporary.unlink, missing_ok=True)
            if _held(stack, handle, temporary):
                break
        yield temporary


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder next to `path`; it is removed at the end."""
    with ExitStack() as stack:
        while True:
            temporary = Path(tempfile.mkdtemp(prefix=_NEW, dir=path.parent))
            stack.callback(shutil.rmtree, temporary, ignore_errors=True)
            if _held(stack, os.open(temporary, os.O_RDONLY), temporary):
                break
        yield temporary


@contextmanager
def set_aside(folder: Path) -> Iterator[None]:
    """Move a folder away; at the end, remove it if a new one is in its place, else move it back."""
    with tempfile.TemporaryDirectory(prefix=_NEW, dir=folder.parent) as created:
        random = Path(created).name[-_RANDOM:]
    with ExitStack() as stack:
        _held(stack, os.open(folder, os.O_RDONLY), folder)
        old = folder.replace(folder.parent / f"{_OLD}{random}{folder.name}")
        try:
            yield
        finally:
            _restore_or_remove(old)


def sweep(root: Path, *, deep: bool = False) -> None:
    """Remove temporary files and folders of ended processes from a folder; `deep`: and below it.

    A folder that was moved away is moved back if no new one is in its place.
    """
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            if name.startswith((_NEW, _OLD)):
                with suppress(OSError):
                    _clean_up(Path(folder, name))
        folders[:] = [name for name in folders if deep and not name.startswith((_NEW, _OLD))]


def _held(stack: ExitStack, handle: int, path: Path) -> bool:
    """Lock an open file or folder until the stack ends; False if another process removed it."""
    stack.callback(os.close, handle)
    with suppress(OSError):  # some file systems have no locks; `sweep` removes nothing there
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return still_names(path, handle)


def still_names(path: Path, handle: int) -> bool:
    """Whether a path still names an open file or folder."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _clean_up(path: Path) -> None:
    """Remove or restore a temporary file or folder.

    Raises:
        OSError: a process holds the lock, the path is a link, or it cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.name.startswith(_OLD):
            _restore_or_remove(path)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _restore_or_remove(old: Path) -> None:
    original = old.parent / old.name[len(_OLD) + _RANDOM :]
    if original.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.replace(original)
