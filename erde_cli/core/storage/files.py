"""Files that appear whole or not at all, and digests of what they hold."""

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
    """Write a text file, whole or not at all."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file next to `path`, then put it in its place.

    Raises:
        InputError: the folder cannot be made.
        ErdeError: the file cannot be written.
    """
    make_folder(path.parent)
    with reporting_write_errors(path), replaced_file(path) as temporary:
        write(temporary)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Give an empty file next to `path` to fill; it takes the place of `path` at the end.

    Its folder must be there. What fails inside stays what it is, and leaves nothing behind.

    Raises:
        ErdeError: the file cannot be written.
    """
    with ExitStack() as stack:
        with reporting_write_errors(path):
            temporary = stack.enter_context(new_file(path))
        yield temporary
        with reporting_write_errors(path):
            _flush(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            _flush(path.parent)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder next to `path` to fill; it takes the place of `path` at the end.

    What fails inside stays what it is, and leaves the old folder as it was.

    Raises:
        InputError: `path` is there and is no folder.
        ErdeError: the folder cannot be written.
    """
    make_folder(path.parent)
    if path.exists() and not path.is_dir():
        raise InputError(
            f"{path} is in the way: a folder is to be written there.",
            got="a file",
            hint="give another folder with --out",
            expected="nothing, or a folder",
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
    """Say in words why something could not be written.

    Raises:
        ErdeError: it could not.
    """
    try:
        yield
    except OSError as error:
        room = f"make room on the disk of {path.parent}, then type the same command again"
        raise ErdeError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint=room if error.errno in _FULL else "",
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        InputError: something that is no folder is in the way, or it is not allowed.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Cannot make the folder {path}: {error.strerror or error}.",
            hint="give another folder with --out",
            expected="a folder that may be made there",
        ) from error


def check_file_target(path: Path, option: str) -> None:
    """Check that a file may be put at a path, before anything is done for it.

    A device would be replaced like a file, by whoever may: /dev/stdout would be one no more.

    Raises:
        InputError: something is there that is no file.
    """
    got = ""
    if path.is_dir():
        got = "a folder"
    elif Path("/dev") in path.absolute().parents or (path.exists() and not path.is_file()):
        got = "a device or a pipe"
    if got:
        raise InputError(
            f"{path} is in the way: a file is to be written there.",
            got=got,
            expected="nothing, or a file",
            hint=f"give another file with {option}",
        )


def _flush(path: Path) -> None:
    """Check that a file, or what a folder lists, is on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
