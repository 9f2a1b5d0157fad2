"""List the image files of a folder and their classes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from erde_cli.core.arrays import IntArray
from erde_cli.core.errors import DataError
from erde_cli.core.images.class_names import normal_form
from erde_cli.core.images.decoding import FORMATS
from erde_cli.core.images.passed_over import (
    BROKEN_LINK,
    LINK_TO_FOLDER,
    PassedOver,
    is_system_folder,
)


def list_classes(
    folder: Path, class_names: Sequence[str], passed: PassedOver, *, allow_empty: bool = False
) -> tuple[list[str], IntArray]:
    """Paths of the image files in `folder/<class>/`, sorted by class, and labels, int64 [files].

    Args:
        folder: contains a folder for each class. A folder's name can have any Unicode form.
        class_names: in the order of the labels.
        passed: receives the counts of skipped files.
        allow_empty: whether a class can be empty. At least one class must have an image.

    Raises:
        DataError: there is no image, a class has no image and `allow_empty` is false, or as
            `class_names_in`.
    """
    folders = _class_folders(folder, passed)
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        class_passed = PassedOver()
        class_files = [
            str(inside) + "/" + "/".join(parts)
            for inside in folders.get(normal_form(name), [])
            for parts in sorted(_image_files(str(inside), class_passed))
        ]
        if not class_files and not allow_empty:
            raise DataError(
                f"The class {name!r} has no images.",
                got="; ".join(class_passed.lines()) or f"no files in {folder / name}",
                expected="at least two images per class",
                hint="; ".join(class_passed.advice()) or "add images, or remove the folder",
            )
        passed.add(class_passed)
        files += class_files
        labels += [label] * len(class_files)
    if not files:
        raise _no_images(folder, passed, f"images in {folder}/<class>/")
    return files, np.array(labels, dtype=np.int64)


def list_images(folder: Path, passed: PassedOver) -> list[str]:
    """Sorted paths of all image files below a folder; `passed` counts skipped files.

    Raises:
        DataError: there is no image, or a folder cannot be opened.
    """
    files = sorted(_image_files(str(folder), passed))
    if not files:
        raise _no_images(folder, passed, "image files in the folder or its subfolders")
    above = str(folder / "_")[:-1]  # "folder/", or "" for the current folder: no ./ in paths
    return [above + "/".join(parts) for parts in files]


def _no_images(folder: Path, passed: PassedOver, expected: str) -> DataError:
    return DataError(
        f"There are no images in {folder}.",
        got="; ".join(passed.lines()),
        expected=expected,
        hint="; ".join(passed.advice()) or "add images, or choose another folder",
    )


def class_names_in(folder: Path) -> tuple[str, ...]:
    """Sorted class names of a folder in normal form.

    Raises:
        DataError: a name has unprintable characters, a class folder is a broken or circular link,
            or the folder cannot be opened.
    """
    return tuple(sorted(_class_folders(folder, PassedOver())))


def count_loose_images(folder: Path) -> int:
    """Number of images directly in a folder, outside its class folders."""
    passed = PassedOver()
    _class_folders(folder, passed)
    return passed.outside


def add_unused_folders(root: Path, used: Sequence[str], passed: PassedOver) -> None:
    """Add the folders in `root` that are not splits to `passed`: unused and system folders.

    Args:
        root: folder that contains the folders of the splits.
        used: names of the folders of the splits.
        passed: receives the names of unused folders, and the counts of images in system folders.

    Raises:
        DataError: the system denies access to a folder.
    """
    for path in sorted(root.iterdir()):
        if is_system_folder(path.name):
            passed.system[path.name] += count_images(str(path))
        elif path.name not in used and not path.name.startswith(".") and is_folder(path):
            passed.unused.append(path.name)


def _class_folders(folder: Path, passed: PassedOver) -> dict[str, list[Path]]:
    """Folders of each class by its name in normal form; `passed` counts other entries.

    Two folders whose names have the same normal form are one class.

    Raises:
        DataError: as `class_names_in`.
    """
    folders: dict[str, list[Path]] = {}
    for path in sorted(folder / entry.name for entry in _entries(str(folder))):
        if is_system_folder(path.name):
            passed.system[path.name] += count_images(str(path))
            continue
        if path.name.startswith("."):
            passed.hidden += 1
            continue
        if path.is_symlink():
            _check_link(path)
        if is_folder(path):
            _check_name(path)
            folders.setdefault(normal_form(path.name), []).append(path)
        elif _ending_of(path.name) in image_endings():
            passed.outside += 1
        else:
            passed.add_file(path.name)
    return folders


def _check_name(path: Path) -> None:
    if not path.name.isprintable():
        raise DataError(
            f"The class name {path.name!r} is not valid.",
            expected="a folder name of printable characters in UTF-8",
            hint=f"rename the folder in {path.parent}",
        )


def is_folder(path: Path) -> bool:
    """Whether a path is a folder or a link to one.

    Raises:
        DataError: the system denies access to the path.
    """
    try:
        return path.is_dir()
    except PermissionError as error:
        raise cannot_open(path, error) from error
    except OSError:  # such as a name that is too long
        return False


def cannot_open(path: str | Path, reason: OSError | str) -> DataError:
    """The error for a path that cannot be opened. Skipping the path would lose images silently."""
    return DataError(
        f"Cannot open {path}: {getattr(reason, 'strerror', None) or reason}.",
        expected="a file or folder with read permission",
        hint="add the permission, for example with chmod u+rX, or remove it",
    )


def _check_link(path: Path) -> None:
    """Check that a link to a class folder is neither broken nor circular."""
    got = ""
    if not os.path.exists(path):  # noqa: PTH110 (Path fails on a link to itself)
        got = "a broken link"
    elif path.parent.resolve().is_relative_to(path.resolve()):
        got = "a link to a folder above it"
    if got:
        raise DataError(
            f"{path.name!r} in {path.parent} cannot be a class.",
            got=got,
            expected="a folder of images, or a link to such a folder elsewhere",
            hint=f"remove the link {path}, or let it point to a folder of images",
        )


@cache
def image_endings() -> frozenset[str]:
    """Suffixes of the accepted image formats, in lower case with a dot."""
    formats = Image.registered_extensions().items()
    return frozenset(ending for ending, kind in formats if kind in FORMATS)


def _image_files(folder: str, passed: PassedOver) -> Iterator[tuple[str, ...]]:
    """Path parts of every image below a folder; `passed` counts skipped files.

    Links to files are followed. Links to folders are not, because they can be circular. The
    list `waiting` replaces recursion, so that any depth is allowed.

    Raises:
        DataError: a folder cannot be opened.
    """
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        above = waiting.pop()
        for entry in _entries("/".join((folder, *above))):
            if accept_entry(entry, passed):
                parts = (*above, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(parts)
                else:
                    yield parts


def accept_entry(entry: os.DirEntry[str], passed: PassedOver) -> bool:
    """Whether an entry is an image file or a folder to search; `passed` counts the others."""
    name = entry.name
    folder = entry.is_dir(follow_symlinks=False)
    if not folder and _ending_of(name) in image_endings() and name[0] != "." and _is_file(entry):
        return True
    if folder and is_system_folder(name):
        passed.system[name] += count_images(entry.path)
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
        raise cannot_open(folder, error) from error


def _link_kind(entry: os.DirEntry[str]) -> str:
    """Kind of a link that does not lead to a file; "" for other entries."""
    if not entry.is_symlink() or _is_file(entry):
        return ""
    return LINK_TO_FOLDER if os.path.isdir(entry.path) else BROKEN_LINK  # noqa: PTH112


def count_images(folder: str) -> int:
    """Number of image files below a folder; 0 if the folder cannot be opened."""
    endings = image_endings()
    return sum(_ending_of(name) in endings for _, _, names in os.walk(folder) for name in names)


def _is_file(entry: os.DirEntry[str]) -> bool:
    if entry.is_symlink():
        return os.path.isfile(entry.path)  # noqa: PTH113 (Path fails on a link to itself)
    return entry.is_file()


def _ending_of(name: str) -> str:
    """Lower-case suffix of a file name with its dot; "" without one and for hidden files."""
    before, dot, ending = name.rpartition(".")
    return dot + ending.lower() if before else ""
