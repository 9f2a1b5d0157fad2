"""Which image files there are in a folder, and which class each belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from erde_cli.core.class_names import is_class_name
from erde_cli.core.data.sources import IntArray
from erde_cli.core.decoding import FORMATS
from erde_cli.core.errors import DataError


def list_classes(
    folder: Path, class_names: Sequence[str], *, may_lack: bool = False
) -> tuple[list[str], IntArray]:
    """Paths of the image files of `folder/<class>/`, sorted, and their labels [files].

    Raises:
        DataError: a class has no image (unless it may), or there is none at all.
    """
    endings = image_endings()
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        inside = folder / name
        if not is_class_name(name):  # a path would lead out of the folder
            raise DataError(
                f"A class cannot be called {name!r}.",
                expected="a folder's name",
                hint="name the folder otherwise",
            )
        found = sorted(_image_files(str(inside), endings)) if is_folder(inside) else []
        if not found and not may_lack:
            raise DataError(
                f"The class {name!r} has no images.",
                got=f"no file with the ending of an image in {folder / name}",
                expected="at least two images per class",
                hint="add images, or remove the folder",
            )
        files += [str(inside) + "/" + "/".join(parts) for parts in found]
        labels += [label] * len(found)
    if not files:
        raise DataError(
            f"There are no images in {folder}.",
            expected="<class>/* in it",
            hint="put images there, or give another folder",
        )
    return files, np.array(labels, dtype=np.int64)


def list_images(folder: Path) -> list[str]:
    """Paths of all image files below a folder, sorted.

    Raises:
        DataError: there is none.
    """
    found = sorted(_image_files(str(folder), image_endings()))
    if not found:
        raise DataError(
            f"There are no images in {folder}.",
            expected="image files, in subfolders or not",
            hint="put images there, or give another folder",
        )
    above = str(folder / "_")[:-1]
    return [above + "/".join(parts) for parts in found]


def class_names_in(folder: Path) -> tuple[str, ...]:
    """Names of the classes of a folder, sorted.

    Raises:
        DataError: one of them cannot be shown, is a link that leads nowhere or round in a circle,
            or the folder cannot be opened.
    """
    try:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise closed(folder, error) from error
    for path in inside:
        if path.is_symlink():
            _check_link(path)
    names = tuple(sorted(path.name for path in inside if is_folder(path)))
    for name in names:
        if not name.isprintable():
            raise DataError(
                f"A class cannot be called {name!r}.",
                expected="a folder name of printable characters, in UTF-8",
                hint=f"rename the folder in {folder}",
            )
    return names


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
    """See that a class that is a link leads to images of its own."""
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


def _image_files(folder: str, endings: set[str]) -> Iterator[tuple[str, ...]]:
    """Parts of the path of every image below a folder; hidden ones are passed over.

    Links to files are followed, links to folders are not: they may lead round in circles. Folders
    wait on a list, so that none lies too deep.

    Raises:
        DataError: a folder cannot be looked into.
    """
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        above = waiting.pop()
        for entry in _visible("/".join((folder, *above))):
            parts = (*above, entry.name)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(parts)
            elif ending_of(entry.name) in endings and is_file(entry):
                yield parts


def _visible(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise closed(folder, error) from error


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file or leads to one; a link that leads nowhere is none."""
    if entry.is_symlink():
        return os.path.isfile(entry.path)  # noqa: PTH113 (Path's fails on a link to itself)
    return entry.is_file()


def ending_of(name: str) -> str:
    """Ending of a file's name, in small letters, with its dot."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (Path's takes as long as decoding)
