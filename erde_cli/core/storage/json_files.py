"""Read untrusted JSON: limited size and depth, unique keys, finite numbers. Write JSON."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from erde_cli.core.errors import BundleError, InputError, first_reason
from erde_cli.core.storage.files import write_text

if TYPE_CHECKING:
    from pydantic import ValidationError

Json = dict[str, Any]

LARGEST = 16_000_000  # bytes; erde writes a few kilobytes, and a name for each class
_DEEPEST = 40  # levels; erde writes fewer than 10
_UNREADABLE = (ValueError, RecursionError, OSError)


class JsonError(ValueError):
    """The reason why a JSON text is refused."""


def load_json(path: Path, largest: int = LARGEST) -> Any:
    """Read a JSON file, and no more than `largest` bytes of it.

    Raises:
        JsonError: the file cannot be read, is not JSON, or is too large or nested too deeply.
    """
    try:
        with path.open("rb") as handle:
            content = handle.read(largest + 1)
        if len(content) > largest:
            raise JsonError(f"it is larger than {largest:,} bytes")
        return parse_json(content.decode())
    except JsonError:
        raise
    except _UNREADABLE as error:
        raise JsonError(str(error)) from error


def parse_json(text: str) -> Any:
    """Read a JSON text.

    Raises:
        JsonError: the text is not JSON, repeats a key, is nested too deeply, or contains a number
            that is not finite.
    """
    try:
        document = json.loads(
            text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_each_once
        )
    except _UNREADABLE as error:
        raise JsonError(str(error)) from error
    _refuse_depth(document)
    return document


def _no_number(name: str) -> None:
    raise JsonError(f"{name} is not a finite number")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise JsonError(f"the number {digits[:20]} is too large")
    return number


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise JsonError(f"it repeats the key {name[:60]!r}")
            seen.add(name)
    return document


def _refuse_depth(document: Any) -> None:
    """Refuse a deep document. A loop over levels, as recursion would fail on one."""
    level = [document]
    for _ in range(_DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise JsonError(f"it is nested more than {_DEEPEST} levels deep")


def digest_of(document: Any) -> str:
    """SHA-256 of a JSON document with sorted keys, 64 hexadecimal digits."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file cannot be read, is not JSON, or is too large or nested too deeply.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe could block
            raise JsonError("it is not a file")
        return load_json(path)
    except JsonError as error:
        raise InputError(
            f"Cannot read {path} as JSON: {error}.",
            expected="a file written by erde",
            hint="create it again with the command that wrote it",
        ) from error


def require_format(
    path: Path, content: object, known: int, error: type[InputError], hint: str
) -> None:
    """Check that a file has the format that this version reads.

    Args:
        path: path of the file.
        content: the file as JSON; its key `format` is the number of the format.
        known: the format that this version reads.
        error: class of the error.
        hint: hint of the error.

    Raises:
        InputError: it has another format.
    """
    found = content.get("format") if isinstance(content, dict) else None
    if found != known:
        raise error(
            f"This version of erde cannot read the format of {path}.",
            got=f"format {found}",
            expected=f"format {known}",
            hint=hint,
        )


def write_json(path: Path, document: Any) -> None:
    """Write an indented JSON file atomically."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def not_what_erde_writes(
    path: Path,
    error: ValidationError,
    hint: str,
    kind: type[InputError] = BundleError,
    expected: str = "the file as erde wrote it",
) -> InputError:
    """The error of class `kind` for a file that does not validate, with the first reason."""
    return kind(
        f"{path} is not what erde writes.", got=first_reason(error), expected=expected, hint=hint
    )
