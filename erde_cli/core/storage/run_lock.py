"""A lock that allows one writer in a run folder, or several that agree on their parts."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import sleep

from erde_cli.core.errors import RunError
from erde_cli.core.storage.files import make_folder
from erde_cli.core.storage.temporary import still_names, sweep

LOCK = ".lock"
_SHARED = "shards"  # written into the lock instead of a process
_MOMENT, _TRIES = 0.05, 4  # seconds; a holder writes what it is as soon as it has the lock
_REFUSED = (BlockingIOError, PermissionError)  # another process holds the lock


@contextmanager
def one_writer(run: Path) -> Iterator[None]:
    """Lock a run folder against other writers, and remove files that a killed process left.

    The lock ends with this process. Child processes do not inherit it.

    Raises:
        RunError: another process holds the lock, or the folder is not writable.
        InputError: the folder cannot be created.
    """
    with _lock(run):
        sweep(run, deep=True)
        yield


@contextmanager
def one_of_several(run: Path) -> Iterator[Callable[[], object]]:
    """Lock a run folder against `one_writer`, together with others that lock it like this.

    The first has the folder alone, and others wait, until it calls the function that is yielded.

    Raises:
        RunError: `one_writer` holds the lock, or the folder is not writable.
        InputError: the folder cannot be created.
    """
    with _lock(run, shared=True) as handle:
        yield partial(fcntl.lockf, handle, fcntl.LOCK_SH)


def hold(folder: Path) -> None:
    """Mark a folder as one that this process writes to, until the process ends.

    The mark outlives the process that holds the lock and has started this one.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    with suppress(OSError):  # some file systems have no locks
        fcntl.flock(handle, fcntl.LOCK_SH)


def wait_for_holders(folder: Path, tell: Callable[[], object]) -> None:
    """Wait until no process `hold`s a folder; `tell` is called if there is one."""
    if not folder.is_dir():
        return
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tell()
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:  # some file systems have no locks
        pass
    finally:
        os.close(handle)


@contextmanager
def _lock(run: Path, *, shared: bool = False) -> Iterator[int]:
    """Lock a folder, which is created if necessary, and removed if nothing was written to it."""
    created = [folder for folder in (run, *run.parents) if not folder.exists()]
    handle = None
    try:
        make_folder(run)
        handle = _locked(run, shared=shared)
        yield handle
    finally:
        if handle is not None:
            with suppress(*_REFUSED):  # the last of several removes the file
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (run / LOCK).unlink(missing_ok=True)
            os.close(handle)
        with suppress(OSError):  # a folder with content stays
            for folder in created:
                folder.rmdir()


def _locked(run: Path, *, shared: bool) -> int:
    path = run / LOCK
    while True:
        handle = _opened(path)
        alone = _takes(handle, fcntl.LOCK_EX)
        if not alone and not (shared and _joined(handle)):
            holder = _holder(handle)
            os.close(handle)
            several = holder == _SHARED
            raise RunError(
                f"Another erde process is writing to {run}.",
                got="one or more of --shard" if several else f"process {holder or '?'}",
                expected="one process per run folder",
                hint="wait for it, stop it, or choose another folder with --out",
            )
        if still_names(path, handle):
            if alone:
                os.ftruncate(handle, 0)
                os.pwrite(handle, (_SHARED if shared else str(os.getpid())).encode(), 0)
            return handle
        os.close(handle)  # the former holder has removed the file


def _joined(handle: int) -> bool:
    """Take a lock together with others that share it; wait as long as one has it alone."""
    tries = 0
    while tries < _TRIES:
        if _takes(handle, fcntl.LOCK_SH):
            return True
        tries = 0 if _holder(handle) == _SHARED else tries + 1
        sleep(_MOMENT)
    return False


def _takes(handle: int, kind: int) -> bool:
    """Take a lock, unless another process has it."""
    try:
        fcntl.lockf(handle, kind | fcntl.LOCK_NB)
    except _REFUSED:
        return False
    return True


def _holder(handle: int) -> str:
    """What the holder of a lock has written: its process, or that several share it."""
    return os.pread(handle, 20, 0).decode(errors="replace")


def _opened(path: Path) -> int:
    try:
        # Follow no link: its target would be truncated.
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if path.is_symlink():
            raise RunError(
                f"Cannot open {path}: it is a symbolic link.",
                expected="a file, or a path that does not exist",
                hint="remove the link, or choose another folder with --out",
            ) from error
        raise RunError(
            f"Cannot write to {path.parent}: {error.strerror or error}.",
            expected="a folder with write permission",
            hint="choose another folder with --out",
        ) from error
