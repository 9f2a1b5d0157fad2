"""Which image files there are in a folder, and which class each belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from erde_cli.core.arrays import IntArray
from erde_cli.core.errors import DataError
from erde_cli.core.images.class_names import one_form
from erde_cli.core.images.decoding import FORMATS
from erde_cli.core.images.passed_over import (
    BROKEN_LINK,
    LINK_TO_FOLDER,
    PassedOver,
    is_system_folder,
)


def list_classes(
    folder: Path, class_names: Sequence[str], passed: PassedOver, *, may_lack: bool = False
) -> tuple[list[str], IntArray]:
    """Paths of the image files of `folder/<class>/`, sorted, and their labels [files].

    Args:
        folder: that holds a folder for each class; in names, Unicode forms make no difference.
        class_names: in the order of the labels.
        passed: what is left out is counted there.
        may_lack: whether a class may have no image, as long as there is one at all.

    Raises:
        DataError: a class has no image (unless it may), or there is none at all.
    """
    endings = image_endings()
    folders = _class_folders(folder, passed)
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        here = PassedOver()
        found = [
            str(inside) + "/" + "/".join(parts)
            for inside in folders.get(one_form(name), [])
            for parts in sorted(_image_files(str(inside), endings, here))
        ]
        if not found and not may_lack:
            raise DataError(
                f"The class {name!r} has no images.",
                got="; ".join(here.lines()) or f"no file at all in {folder / name}",
                expected="at least two images per class",
                hint="; ".join(here.advice()) or "add images, or remove the folder",
            )
        passed.add(here)
        files += found
        labels += [label] * len(found)
    if not files:
        raise DataError(
            f"There are no images in {folder}.",
            got="; ".join(passed.lines()),
            expected="<class>/* in it",
            hint="; ".join(passed.advice()) or "put images there, or give another folder",
        )
    return files, np.array(labels, dtype=np.int64)


def list_images(folder: Path, passed: PassedOver) -> list[str]:
    """Paths of all image files below a folder, sorted; what is left out is counted.

    Raises:
        DataError: there is none.
    """
    found = sorted(_image_files(str(folder), image_endings(), passed))
    if not found:
        raise DataError(
            f"There are no images in {folder}.",
            got="; ".join(passed.lines()),
            expected="image files, in subfolders or not",
            hint="; ".join(passed.advice()) or "put images there, or give another folder",
        )
    above = str(folder / "_")[:-1]
    return [above + "/".join(parts) for parts in found]


def class_names_in(folder: Path) -> tuple[str, ...]:
    """Names of the classes of a folder in one Unicode form, sorted.

    Raises:
        DataError: one of them cannot be shown, is a link that leads nowhere or round in a circle,
            or the folder cannot be opened.
    """
    return tuple(sorted(_class_folders(folder, PassedOver())))


def count_loose_images(folder: Path) -> int:
    """Images that lie in a folder itself, and in none of a class."""
    passed = PassedOver()
    _class_folders(folder, passed)
    return passed.outside


def count_next_to(root: Path, used: Sequence[str], passed: PassedOver) -> None:
    """Count what lies in a folder next to its splits."""
    for path in sorted(root.iterdir()):
        if is_system_folder(path.name):
            passed.system[path.name] += count_images(str(path), image_endings())
        elif path.name not in used and not path.name.startswith(".") and is_folder(path):
            passed.unused.append(path.name)


def _class_folders(folder: Path, passed: PassedOver) -> dict[str, list[Path]]:
    """Folders of each class; what else lies next to them is counted.

    Raises:
        DataError: as `class_names_in`.
    """
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise closed(folder, error) from error
    found: dict[str, list[Path]] = {}
    endings = image_endings()
    for path in inside:
        if is_system_folder(path.name):
            passed.system[path.name] += count_images(str(path), endings)
            continue
        if path.name.startswith("."):
            passed.hidden += 1
            continue
        if path.is_symlink():
            _check_link(path)
        if is_folder(path):
            _check_name(path)
            found.setdefault(one_form(path.name), []).append(path)
        elif ending_of(path.name) in endings:
            passed.outside += 1
        else:
            passed.add_file(path.name)
    return found


def _check_name(path: Path) -> None:
    if not path.name.isprintable():
        raise DataError(
            f"A class cannot be called {path.name!r}.",
            expected="a folder name of printable characters, in UTF-8",
            hint=f"rename the folder in {path.parent}",
        )


def is_folder(path: Path) -> bool:
    """Whether it is a folder or leads to one.

    Raises:
        DataError: nobody can tell, for want of permission.
    """
    try:
        return path.is_dir()
    except PermissionError as error:
        raise closed(path, error) from error
    except OSError:  # a name too long
        return False


def closed(path: str | Path, error: OSError) -> DataError:
    """A folder or file cannot be opened; to pass over it would lose images without a word."""
    return DataError(
        f"Cannot open {path}: {error.strerror or error}.",
        expected="a folder or file that may be opened",
        hint="let yourself read it, such as by chmod u+rX, or remove it",
    )


def _check_link(path: Path) -> None:
    """Check that a class that is a link leads to images of its own."""
    got = ""
    if not os.path.exists(path):  # noqa: PTH110 (Path's fails on a link to itself)
        got = "a link that leads nowhere"
    elif path.parent.resolve().is_relative_to(path.resolve()):
        got = "a link that leads round in a circle"
    if got:
        raise DataError(
            f"{path.name!r} in {path.parent} is no class.",
            got=got,
            expected="a folder of images, or a link to one elsewhere",
            hint=f"remove the link {path}, or let it lead to the images",
        )


def image_endings() -> set[str]:
    """Endings of the files that can be opened as images."""
    formats = Image.registered_extensions().items()
    return {ending for ending, kind in formats if kind in FORMATS}


def _image_files(folder: str, endings: set[str], passed: PassedOver) -> Iterator[tuple[str, ...]]:
    """Parts of the path of every image below a folder; what is left out is counted.

    Links to files are followed, links to folders are not: they may lead round in circles. Folders
    wait on a list, so that none lies too deep.

    Raises:
        DataError: a folder cannot be looked into.
    """
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        above = waiting.pop()
        for entry in _entries("/".join((folder, *above))):
            if wanted(entry, endings, passed):
                parts = (*above, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(parts)
                else:
                    yield parts


def wanted(entry: os.DirEntry[str], endings: set[str], passed: PassedOver) -> bool:
    """Whether it is an image file or a folder to look into; what is neither is counted."""
    name = entry.name
    folder = entry.is_dir(follow_symlinks=False)
    if not folder and ending_of(name) in endings and name[0] != "." and is_file(entry):
        return True
    if folder and is_system_folder(name):
        passed.system[name] += count_images(entry.path, endings)
    elif name[0] == ".":
        passed.hidden += 1
    elif folder:
        return True
    elif kind := _link_kind(entry):
        passed.endings[kind] += 1
    else:
        passed.add_file(name)
    return False


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise closed(folder, error) from error


def _link_kind(entry: os.DirEntry[str]) -> str:
    """What a link is that leads to no file; empty where it is no link."""
    if not entry.is_symlink():
        return ""
    if os.path.isfile(entry.path):  # noqa: PTH113 (Path's fails on a link to itself)
        return ""
    return LINK_TO_FOLDER if os.path.isdir(entry.path) else BROKEN_LINK  # noqa: PTH112


def count_images(folder: str, endings: set[str]) -> int:
    """Image files below a folder; none where it cannot be looked into."""
    return sum(ending_of(name) in endings for _, _, names in os.walk(folder) for name in names)


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file or leads to one; a link that leads nowhere is none."""
    if entry.is_symlink():
        return os.path.isfile(entry.path)  # noqa: PTH113 (Path's fails on a link to itself)
    return entry.is_file()


def ending_of(name: str) -> str:
    """Ending of a visible file's name, in small letters, with its dot; empty where it has none."""
    before, dot, ending = name.rpartition(".")
    return dot + ending.lower() if before else ""
