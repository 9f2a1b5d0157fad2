"""Files that appear whole or not at all, and digests of what they hold."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from erde_cli.core.errors import ErdeError, InputError
from erde_cli.core.json_text import JsonError, load_json


def canonical_json(document: Any) -> str:
    """Write a document as JSON in one fixed form (sorted keys, no NaN, no Infinity)."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(document: Any) -> str:
    """SHA-256 of a JSON document, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Read one JSON document.

    Raises:
        InputError: the file is not JSON, or is larger or deeper than anything erde writes.
    """
    try:
        return load_json(path)
    except JsonError as error:
        raise InputError(
            f"{path} cannot be read as JSON: {error}.",
            expected="a file written by erde",
            hint="make it again with the command that wrote it",
        ) from error


def write_json(path: Path, document: Any) -> None:
    """Write one JSON document, readable, whole or not at all."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then put it in its place.

    Raises:
        InputError: the folder cannot be made.
        ErdeError: the file cannot be written.
    """
    make_folder(path.parent)
    with _told(path), replaced_file(path) as temporary:
        write(temporary)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Give an empty file beside `path` to fill; it takes the place of `path` at the end.

    Its folder must be there. What fails inside stays what it is, and leaves nothing behind.

    Raises:
        ErdeError: the file cannot be written.
    """
    temporary = None
    try:
        with _told(path):
            # A short prefix: with the whole name, a long but legal one would not fit.
            handle, name = tempfile.mkstemp(path.suffix[:20], f".{path.name[:20]}.", path.parent)
            os.close(handle)
            temporary = Path(name)
        yield temporary
        with _told(path):
            _flush(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ErdeError(f"Cannot write {path}: {error.strerror or error}.") from error


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path` to fill; it takes the place of `path` at the end.

    Raises:
        InputError: `path` is there and is no folder.
    """
    make_folder(path.parent)
    if path.exists() and not path.is_dir():
        raise InputError(
            f"{path} is in the way: a folder is to be written there.",
            got="a file",
            hint="give another folder with --out",
        )
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
            path.replace(old)
            temporary.replace(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
        ) from error


def _flush(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
