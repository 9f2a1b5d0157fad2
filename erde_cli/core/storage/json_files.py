"""Untrusted JSON: small, shallow, each key once, every number finite."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.storage.files import write_text

Json = dict[str, Any]

LARGEST = 16_000_000  # bytes; what erde writes has some kilobytes, and a name for each class
_DEEPEST = 40  # levels; what erde writes has under 10
_UNREADABLE = (ValueError, RecursionError, OSError)


class JsonError(ValueError):
    """What is wrong with a JSON text, in a few words."""


def load_json(path: Path, largest: int = LARGEST) -> Any:
    """Read one JSON document; no more than `largest` bytes are ever taken into memory.

    Raises:
        JsonError: it cannot be read, is no JSON, or is larger or deeper than anything erde writes.
    """
    try:
        with path.open("rb") as handle:
            content = handle.read(largest + 1)
        if len(content) > largest:
            raise JsonError(f"it has more than {largest:,} bytes")
        return parse_json(content.decode())
    except JsonError:
        raise
    except _UNREADABLE as error:
        raise JsonError(str(error)) from error


def parse_json(text: str) -> Any:
    """Read a JSON text.

    Raises:
        JsonError: it is no JSON, a key stands twice, it is too deep, or a number is not finite.
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
    raise JsonError(f"{name} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise JsonError(f"{digits[:20]} is too large a number")
    return number


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonError(f"the key {twice[:60]!r} stands twice")
    return found


def _refuse_depth(document: Any) -> None:
    """Go down level by level: what is written by recursion would fail on a deep document."""
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
    raise JsonError(f"it is nested more than {_DEEPEST} deep")


def canonical_json(document: Any) -> str:
    """Write a document as JSON in one fixed form (sorted keys, no NaN, no Infinity)."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(document: Any) -> str:
    """SHA-256 of a JSON document, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """Read one JSON document.

    Raises:
        InputError: the file is not JSON, or is larger or deeper than anything erde writes.
    """
    try:
        if path.exists() and not path.is_file():  # to read from a pipe could take for ever
            raise JsonError("it is no file")
        return load_json(path)
    except JsonError as error:
        raise InputError(
            f"{path} cannot be read as JSON: {error}.",
            expected="a file written by erde",
            hint="make it again with the command that wrote it",
        ) from error


def require_format(
    path: Path, found: object, known: int, kind: type[InputError], hint: str
) -> None:
    """Check that a file has the format that this version reads.

    Raises:
        InputError: it has another format; the error is of class `kind`.
    """
    if found != known:
        raise kind(
            f"{path} has a format that this version of erde does not read.",
            got=f"format {found}",
            expected=f"format {known}",
            hint=hint,
        )


def write_json(path: Path, document: Any) -> None:
    """Write one JSON document, readable, whole or not at all."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def not_what_erde_writes(path: Path, error: ValidationError, hint: str) -> BundleError:
    """A file of a bundle does not validate; the first reason, without pydantic's pages of them."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return BundleError(
        f"{path} is not what erde writes.",
        got=f"{where}: {first['msg']}".removeprefix(": "),
        expected="the file as it was written",
        hint=hint,
    )
