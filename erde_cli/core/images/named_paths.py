"""The images that paths on a command line name: files, folders, patterns, or a list of those.

Names are sorted as people count: frame2 before frame10. Fingerprints rest on another order, that of
`listing`, which stays as it is.

Everything is given as it is found, so that a million images need no million paths in memory; at any
time the names inside one folder, and inside those above it, are held.
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
from typing import Any

from erde_cli.core.errors import DataError
from erde_cli.core.images.listing import count_images, image_endings, wanted
from erde_cli.core.images.passed_over import PassedOver, is_system_folder

_NUMBER = re.compile("0*([0-9]+)")
LIST = "-"  # on the command line: the paths come from standard input, one a line


@dataclass(frozen=True)
class Named:
    """A file to be read as an image; or, where `reason` is not empty, why there is none."""

    path: str
    reason: str = ""


WAITING = Named("")  # the next path is waited for, so that those before it should be answered
_BLOCK = 65_536  # bytes of a list taken at once; as many as a pipe holds


def as_they_come(stream: Any) -> Iterator[bytes]:
    """Lines of a buffered stream as soon as they have come, and "" where others are waited for."""
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
    """Find the images that paths name, in the order of the paths; in a folder, sorted by name.

    A file that is named itself is taken whatever its ending. A folder gives the files in it that
    have the ending of an image, those of its subfolders as well; hidden ones are passed over, links
    to folders are not followed. A pattern (`*`, `?`, `[…]`, `**`) is one only where no file has
    that very name; with `**` it gives files alone.

    Args:
        given: paths, patterns, or "-" for `listed`.
        listed: lines that hold a path each, of a file or a folder; empty lines are passed over,
            and what is not even a line gives `WAITING`.
        passed: what folders hold that is left out is counted there.

    Raises:
        DataError: the list is in UTF-16, or its paths do not stand one a line.
    """
    passed = PassedOver() if passed is None else passed
    for path in given:
        if path == LIST:
            for number, line in enumerate(listed):
                text = _beginning(line) if number == 0 else line
                if name := os.fsdecode(text.rstrip(b"\r\n")):
                    yield from _named(name, passed)
                elif not line:
                    yield WAITING
        elif glob.has_magic(path) and not os.path.lexists(path):
            yield from _matching(path, passed)
        else:
            yield from _named(path, passed)


def count_of_files(given: Iterable[str]) -> int | None:
    """How many images there are, where every path names a file; None: that is not known yet."""
    paths = list(given)
    return len(paths) if all(os.path.isfile(path) for path in paths) else None  # noqa: PTH113


def _beginning(line: bytes) -> bytes:
    """The first line of a list, without the mark of UTF-8 that some editors begin a file with.

    Raises:
        DataError: it is none of a list of lines.
    """
    marked = line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if marked or b"\0" in line:
        raise DataError(
            "The list of paths on stdin cannot be read.",
            got="UTF-16" if marked else "null characters, as UTF-16 and find -print0 write them",
            expected="one path a line, in UTF-8",
            hint="iconv -f UTF-16 -t UTF-8 list.txt | erde predict ... -"
            + ("" if marked else ", or find -print in the place of -print0"),
        )
    return line.removeprefix(codecs.BOM_UTF8)


def _named(path: str, passed: PassedOver) -> Iterator[Named]:
    try:
        status = os.stat(path)  # noqa: PTH116 (as fast as can be)
    except (OSError, ValueError) as error:
        yield Named(path, getattr(error, "strerror", None) or str(error))
        return
    if stat.S_ISDIR(status.st_mode):
        yield from _inside(path, passed)
    elif stat.S_ISREG(status.st_mode):
        yield Named(path)
    else:  # to read from a pipe or a terminal could take for ever
        yield Named(path, "neither a file nor a folder")


def _inside(folder: str, passed: PassedOver) -> Iterator[Named]:
    """Image files below a folder, sorted; one without any is reported."""
    empty = True
    for named in _walk(folder, image_endings(), passed):
        empty = False
        yield named
    if empty:
        yield Named(folder, "no image in this folder")


def _walk(folder: str, endings: set[str], passed: PassedOver) -> Iterator[Named]:
    """Folders that are begun wait on a list, so that none lies too deep."""
    begun: list[Iterator[tuple[str, bool]]] = [iter([(folder, True)])]
    while begun:
        path, is_folder = next(begun[-1], ("", False))
        if not path:
            begun.pop()
        elif not is_folder:
            yield Named(path)
        else:
            try:
                begun.append(iter(_entries(path, endings, passed)))
            except OSError as error:
                yield Named(path, error.strerror or str(error))


def _entries(folder: str, endings: set[str], passed: PassedOver) -> Iterator[tuple[str, bool]]:
    """Paths of subfolders and images in a folder, sorted by name, and whether each is a folder."""
    with os.scandir(folder) as entries:
        # A subfolder is marked by its last character: the names are all that is kept.
        names = [
            entry.name + "/" * entry.is_dir(follow_symlinks=False)
            for entry in entries
            if wanted(entry, endings, passed)
        ]
    names.sort(key=lambda name: as_counted(name.removesuffix("/")))
    above = os.path.join(folder, "")  # noqa: PTH118 (Path's takes as long as decoding)
    return ((above + name.removesuffix("/"), name.endswith("/")) for name in names)


def _matching(pattern: str, passed: PassedOver) -> Iterator[Named]:
    """What a pattern stands for, as the shell would have put it onto the command line."""
    start = "/" if pattern.startswith("/") else ""
    parts = [part for part in pattern.split("/") if part]
    files_only = "**" in parts
    found = False
    for path in _match(start, parts, passed):
        if files_only and os.path.isdir(path):  # noqa: PTH112 (its images are found one by one)
            continue
        found = True
        yield from _named(path, passed)
    if not found:
        yield Named(pattern, "no file or folder matches this pattern")


def _match(above: str, parts: list[str], passed: PassedOver) -> Iterator[str]:
    """Paths below `above` that match a pattern's parts, sorted within each folder."""
    first, rest = parts[0], parts[1:]
    if first == "**":
        yield from _anywhere(above, rest or ["*"], passed)
        return
    if not glob.has_magic(first):
        path = above + first
        if os.path.lexists(path):
            yield from _match(path + "/", rest, passed) if rest else iter([path])
        return
    fits = re.compile(fnmatch.translate(first)).match
    for name, is_folder in _names(above):
        if fits(name) and (not name.startswith(".") or first.startswith(".")):
            if not rest:
                yield above + name
            elif is_folder:
                yield from _match(above + name + "/", rest, passed)


def _anywhere(above: str, rest: list[str], passed: PassedOver) -> Iterator[str]:
    """What matches here, or in any folder below; links to folders may lead round in circles."""
    while rest[0] == "**" and len(rest) > 1:
        rest = rest[1:]
    if rest[0] == "**":
        rest = ["*"]
    begun = [iter([above])]
    while begun:
        folder = next(begun[-1], None)
        if folder is None:
            begun.pop()
            continue
        yield from _match(folder, rest, passed)
        begun.append(iter(_folders(folder, passed)))


def _folders(above: str, passed: PassedOver) -> list[str]:
    """Visible folders in a folder, sorted; links to folders are not followed."""
    found = []
    for name, is_folder in _names(above):
        if is_folder and is_system_folder(name):
            passed.system[name] += count_images(above + name, image_endings())
        elif is_folder and not name.startswith(".") and not os.path.islink(above + name):  # noqa: PTH114
            found.append(above + name + "/")
    return found


def _names(folder: str) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, and whether each is a folder; none where it cannot be opened."""
    try:
        with os.scandir(folder or ".") as entries:
            found = ((entry.name, entry.is_dir()) for entry in entries)
            return sorted(found, key=lambda entry: as_counted(entry[0]))
    except OSError:
        return []


def as_counted(name: str) -> tuple[str, str]:
    """What a name is sorted by: its numbers by their size, all else by its characters.

    A number is written after the count of its digits: 2 becomes 0, 1, 2 and 10 becomes 0, 2, 10.
    """
    return _NUMBER.sub(lambda found: f"0{chr(len(found[1]))}{found[1]}", name), name
