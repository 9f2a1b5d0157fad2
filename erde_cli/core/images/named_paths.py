"""Find the images that command-line paths refer to: files, folders, patterns, or a list of these.

Names are in natural order: frame2 before frame10. `listing` uses another order, which fingerprints
depend on.

Paths are generated one by one, so that a million images do not need a million paths in memory. Only
the names in the current folder and its parents are in memory.
"""

from __future__ import annotations

import codecs
import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any

from erde_cli.core.errors import DataError
from erde_cli.core.images.listing import accept_entry, count_images
from erde_cli.core.images.passed_over import PassedOver, is_system_folder

_NUMBER = re.compile("0*([0-9]+)")
LIST = "-"  # stands for the paths on standard input, one per line


@dataclass(frozen=True)
class Named:
    """A file to read as an image, or a path with the `reason` why it gives no image."""

    path: str
    reason: str = ""


WAITING = Named("")  # the next path has not arrived, so the earlier ones should be answered now
_BLOCK = 65_536  # bytes that are read at once; the capacity of a pipe


def as_they_come(stream: Any) -> Iterator[bytes]:
    """Yield lines of a buffered stream as they arrive, and "" when the stream has to wait."""
    rest = b""
    while block := stream.read1(_BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        yield from (line + b"\n" for line in lines)
        if lines:
            yield b""
    yield rest


def named_images(
    given: Iterable[str], listed: Iterable[bytes] = (), passed: PassedOver | None = None
) -> Iterator[Named]:
    """Yield the images of paths, in the order of the paths; in folders, in natural order.

    A file can have any suffix. A folder gives the image files in it and in its subfolders, without
    hidden files and without links to folders. A path is a pattern (`*`, `?`, `[…]`, `**`) only if
    no file has this name. A pattern with `**` gives only files.

    Args:
        given: paths, patterns, or "-" for `listed`.
        listed: lines with one path of a file or folder each. Empty lines are skipped; "" gives
            `WAITING`.
        passed: receives the counts of files that are skipped in folders.

    Raises:
        DataError: the list is in UTF-16, or does not have one path per line.
    """
    passed = PassedOver() if passed is None else passed
    for path in given:
        if path == LIST:
            for number, line in enumerate(listed):
                text = _first_line(line) if number == 0 else line
                if name := os.fsdecode(text.rstrip(b"\r\n")):
                    yield from _named(name, passed)
                elif not line:
                    yield WAITING
        elif glob.has_magic(path) and not os.path.lexists(path):
            yield from _matching(path, passed)
        else:
            yield from _named(path, passed)


def count_of_files(given: Iterable[str]) -> int | None:
    """Number of images if every path is a file; None: not known yet."""
    paths = list(given)
    return len(paths) if all(os.path.isfile(path) for path in paths) else None  # noqa: PTH113


def _first_line(line: bytes) -> bytes:
    """The first line of a list without a UTF-8 byte order mark.

    Raises:
        DataError: the list is in UTF-16 or contains null characters.
    """
    marked = line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if marked or b"\0" in line:
        raise DataError(
            "Cannot read the list of paths on stdin.",
            got="UTF-16" if marked else "null characters, as UTF-16 and find -print0 write them",
            expected="one path per line in UTF-8",
            hint="iconv -f UTF-16 -t UTF-8 list.txt | erde predict ... -"
            + ("" if marked else ", or use find -print instead of -print0"),
        )
    return line.removeprefix(codecs.BOM_UTF8)


def _named(path: str, passed: PassedOver) -> Iterator[Named]:
    try:
        status = os.stat(path)  # noqa: PTH116 (faster than Path)
    except (OSError, ValueError) as error:
        yield Named(path, getattr(error, "strerror", None) or str(error))
        return
    if stat.S_ISDIR(status.st_mode):
        yield from _inside(path, passed)
    elif stat.S_ISREG(status.st_mode):
        yield Named(path)
    else:  # a pipe or terminal could block
        yield Named(path, "neither a file nor a folder")


def _inside(folder: str, passed: PassedOver) -> Iterator[Named]:
    """Image files below a folder in natural order; an entry with a reason if there is none."""
    is_empty = True
    for named in _walk(folder, passed):
        is_empty = False
        yield named
    if is_empty:
        yield Named(folder, "there are no images in this folder")


def _walk(folder: str, passed: PassedOver) -> Iterator[Named]:
    """Image files below a folder. A list instead of recursion allows any depth."""
    begun: list[Iterator[tuple[str, bool]]] = [iter([(folder, True)])]
    while begun:
        path, is_folder = next(begun[-1], ("", False))
        if not path:
            begun.pop()
        elif not is_folder:
            yield Named(path)
        else:
            try:
                begun.append(iter(_entries(path, passed)))
            except OSError as error:
                yield Named(path, error.strerror or str(error))


def _entries(folder: str, passed: PassedOver) -> Iterator[tuple[str, bool]]:
    """Paths of subfolders and images in a folder, sorted, and whether each is a folder."""
    with os.scandir(folder) as entries:
        # A slash marks a subfolder, so that only names are in memory.
        names = [
            entry.name + "/" * entry.is_dir(follow_symlinks=False)
            for entry in entries
            if accept_entry(entry, passed)
        ]
    names.sort(key=lambda name: natural_key(name.removesuffix("/")))
    above = os.path.join(folder, "")  # noqa: PTH118 (Path takes as long as decoding)
    return ((above + name.removesuffix("/"), name.endswith("/")) for name in names)


def _matching(pattern: str, passed: PassedOver) -> Iterator[Named]:
    """Images of the paths that match a pattern, as a shell would expand it."""
    start = "/" if pattern.startswith("/") else ""
    parts = [part for part in pattern.split("/") if part]
    files_only = "**" in parts
    has_match = False
    for path in _match(start, parts, passed):
        if files_only and os.path.isdir(path):  # noqa: PTH112 (the pattern matches its images)
            continue
        has_match = True
        yield from _named(path, passed)
    if not has_match:
        yield Named(pattern, "no file or folder matches this pattern")


def _match(above: str, parts: list[str], passed: PassedOver) -> Iterator[str]:
    """Paths below `above` that match the parts of a pattern, sorted within each folder."""
    first, rest = parts[0], parts[1:]
    if first == "**":
        yield from _anywhere(above, rest, passed)
        return
    if not glob.has_magic(first):
        path = above + first
        if os.path.lexists(path):
            yield from _match(path + "/", rest, passed) if rest else iter([path])
        return
    matches = re.compile(fnmatch.translate(first)).match
    for name, is_folder in _names(above):
        if matches(name) and (not name.startswith(".") or first.startswith(".")):
            if not rest:
                yield above + name
            elif is_folder:
                yield from _match(above + name + "/", rest, passed)


def _anywhere(above: str, rest: list[str], passed: PassedOver) -> Iterator[str]:
    """Paths that match here or in any folder below, without following links to folders."""
    rest = list(dropwhile(lambda part: part == "**", rest)) or ["*"]
    begun = [iter([above])]
    while begun:
        folder = next(begun[-1], None)
        if folder is None:
            begun.pop()
            continue
        yield from _match(folder, rest, passed)
        begun.append(iter(_folders(folder, passed)))


def _folders(above: str, passed: PassedOver) -> list[str]:
    """Visible subfolders of a folder, sorted, without links."""
    folders = []
    for name, is_folder in _names(above):
        if is_folder and is_system_folder(name):
            passed.system[name] += count_images(above + name)
        elif is_folder and not name.startswith(".") and not os.path.islink(above + name):  # noqa: PTH114
            folders.append(above + name + "/")
    return folders


def _names(folder: str) -> list[tuple[str, bool]]:
    """Sorted names in a folder, and whether each is a folder; none if it cannot be opened."""
    try:
        with os.scandir(folder or ".") as entries:
            names = ((entry.name, entry.is_dir()) for entry in entries)
            return sorted(names, key=lambda entry: natural_key(entry[0]))
    except OSError:
        return []


def natural_key(name: str) -> tuple[str, str]:
    """Sort key of a name that compares numbers by value.

    The number of digits precedes each number: 2 becomes 0, 1, 2 and 10 becomes 0, 2, 10.
    """
    return _NUMBER.sub(lambda match: f"0{chr(len(match[1]))}{match[1]}", name), name
