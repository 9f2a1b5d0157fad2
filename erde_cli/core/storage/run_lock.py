"""A lock that allows one writer in a run folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from erde_cli.core.errors import RunError
from erde_cli.core.storage.files import make_folder
from erde_cli.core.storage.temporary import still_names, sweep

LOCK = ".lock"


@contextmanager
def one_writer(run: Path) -> Iterator[None]:
    """Lock a run folder against other writers, and remove files that a killed process left.

    The lock ends with this process. Child processes do not inherit it.

    Raises:
        RunError: another process holds the lock, or the folder is not writable.
        InputError: the folder cannot be created.
    """
    created = [folder for folder in (run, *run.parents) if not folder.exists()]
    handle = None
    try:
        make_folder(run)
        handle = _locked(run)
        sweep(run, deep=True)
        yield
    finally:
        if handle is not None:
            (run / LOCK).unlink(missing_ok=True)
            os.close(handle)
        with suppress(OSError):  # a folder with content stays
            for folder in created:
                folder.rmdir()


def _locked(run: Path) -> int:
    path = run / LOCK
    while True:
        handle = _opened(path)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            holder = os.read(handle, 20).decode(errors="replace")
            os.close(handle)
            raise RunError(
                f"Another erde process is writing to {run}.",
                got=f"process {holder or '?'}",
                expected="one process per run folder",
                hint="wait for it, stop it, or choose another folder with --out",
            ) from error
        if still_names(path, handle):
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            return handle
        os.close(handle)  # the former holder has removed the file


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
