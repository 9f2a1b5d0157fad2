"""Atomic writes of files and folders, and digests of files."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from erde_cli.core.errors import ErdeError, InputError
from erde_cli.core.storage.temporary import new_file, new_folder, set_aside

_FULL = (errno.ENOSPC, errno.EDQUOT)


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then move it to `path`.

    Raises:
        InputError: the folder cannot be created.
        ErdeError: the file cannot be written.
    """
    make_folder(path.parent)
    with reporting_write_errors(path), replaced_file(path) as temporary:
        write(temporary)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yield an empty file next to `path`, and replace `path` with it at the end.

    The folder must exist. An exception inside the block passes through, and `path` stays unchanged.

    Raises:
        ErdeError: the file cannot be written.
    """
    with ExitStack() as stack:
        with reporting_write_errors(path):
            temporary = stack.enter_context(new_file(path))
        yield temporary
        put_in_place(temporary, path)


def put_in_place(temporary: Path, path: Path) -> None:
    """Move a written file to `path`, in the same folder, once its content is on disk.

    Raises:
        ErdeError: the file cannot be written.
    """
    with reporting_write_errors(path):
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _flush(path.parent)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder next to `path`, and replace `path` with it at the end.

    An exception inside the block passes through, and `path` stays unchanged.

    Raises:
        InputError: `path` is not a folder.
        ErdeError: the folder cannot be written.
    """
    make_folder(path.parent)
    if path.exists() and not path.is_dir():
        raise InputError(
            f"{path} is in the way of an output folder.",
            got="a file",
            expected="a folder, or a path that does not exist",
            hint="choose another folder with --out",
        )
    with ExitStack() as stack:
        with reporting_write_errors(path):
            temporary = stack.enter_context(new_folder(path))
        yield temporary
        with reporting_write_errors(path):
            for written in [*temporary.rglob("*"), temporary]:
                _flush(written)
            temporary.chmod(0o777 & ~_umask())
            with set_aside(path) if path.exists() else nullcontext():
                temporary.replace(path)
            _flush(path.parent)


@contextmanager
def reporting_write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into an ErdeError that names `path` and the reason.

    Raises:
        ErdeError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        free_space = f"free disk space for {path.parent}, then run the same command again"
        raise ErdeError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint=free_space if error.errno in _FULL else "",
        ) from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents.

    Raises:
        InputError: a file is in the way, or the permission is missing.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Cannot create the folder {path}: {error.strerror or error}.",
            expected="a path where a folder can be created",
            hint="choose another folder with --out",
        ) from error


def check_file_target(path: Path, option: str) -> None:
    """Check that a path can take an output file, before the work begins.

    A write would replace a device such as /dev/stdout with a file, if permissions allow it.

    Raises:
        InputError: the path is a folder, a device or a pipe.
    """
    got = ""
    if path.is_dir():
        got = "a folder"
    elif Path("/dev") in path.absolute().parents or (path.exists() and not path.is_file()):
        got = "a device or a pipe"
    if got:
        raise InputError(
            f"{path} is in the way of an output file.",
            got=got,
            expected="a file, or a path that does not exist",
            hint=f"choose another file with {option}",
        )


def _flush(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
