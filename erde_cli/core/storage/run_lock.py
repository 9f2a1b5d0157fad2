"""One writer at a time in a run folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from erde_cli.core.errors import RunError
from erde_cli.core.storage.files import make_folder
from erde_cli.core.storage.temporary import sweep

LOCK = ".lock"


@contextmanager
def one_writer(run: Path) -> Iterator[None]:
    """Hold a run folder, so that no other process writes into it, swept of what one left behind.

    The lock belongs to this process: it ends with it, however it ends, and processes that are
    started from here do not inherit it.

    Raises:
        RunError: another process holds it, whose number is named; or nothing can be written there.
        InputError: it cannot be made.
    """
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
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
        with suppress(OSError):  # something is in it, as there should be
            for folder in made:
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
                f"Another erde is writing into {run}.",
                got=f"process {holder or '?'}",
                hint="wait for it, stop it, or name another folder with --out",
                expected="one erde at a time in a folder",
            ) from error
        if _is_file(path, handle):
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            return handle
        os.close(handle)  # whoever held it has removed it since


def _opened(path: Path) -> int:
    try:
        # Not through a link: whatever it leads to would be emptied.
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if path.is_symlink():
            raise RunError(
                f"Cannot open {path}: it is a link.",
                expected="a file, or none",
                hint="remove it, or name another folder with --out",
            ) from error
        raise RunError(
            f"Cannot write into {path.parent}: {error.strerror or error}.",
            expected="a folder that may be written to",
            hint="give another folder with --out",
        ) from error


def _is_file(path: Path, handle: int) -> bool:
    """Whether an open file is still the one that the path names."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
