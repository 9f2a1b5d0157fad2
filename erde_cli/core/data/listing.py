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
            raise DataError(f"A class cannot be called {name!r}.", expected="a folder's name")
        found = sorted(_image_files(str(inside), endings)) if inside.is_dir() else []
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
        raise DataError(f"There are no images in {folder}.", expected="<class>/* in it")
    return files, np.array(labels, dtype=np.int64)


def list_images(folder: Path) -> list[str]:
    """Paths of all image files below a folder, sorted.

    Raises:
        DataError: there is none.
    """
    found = sorted(_image_files(str(folder), image_endings()))
    if not found:
        raise DataError(
            f"There are no images in {folder}.", expected="image files, in subfolders or not"
        )
    above = str(folder / "_")[:-1]
    return [above + "/".join(parts) for parts in found]


def class_names_in(folder: Path) -> tuple[str, ...]:
    """Names of the classes of a folder, sorted.

    Raises:
        DataError: one of them cannot be shown.
    """
    inside = (path.name for path in folder.iterdir() if path.is_dir())
    names = tuple(sorted(name for name in inside if not name.startswith(".")))
    for name in names:
        if not name.isprintable():
            raise DataError(
                f"A class cannot be called {name!r}.",
                expected="a folder name of printable characters, in UTF-8",
                hint=f"rename the folder in {folder}",
            )
    return names


def image_endings() -> set[str]:
    """Endings of the files that can be opened as images."""
    formats = Image.registered_extensions().items()
    return {ending for ending, kind in formats if kind in FORMATS}


def _image_files(folder: str, endings: set[str]) -> Iterator[tuple[str, ...]]:
    """Parts of the path of every image below a folder; hidden ones are passed over.

    Links to files are followed, links to folders are not: they may lead round in circles. Folders
    wait on a list, so that none lies too deep.

    Raises:
        DataError: a folder cannot be looked into; one that may not be is passed over.
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
    except PermissionError:
        return []
    except OSError as error:
        raise DataError(
            f"Cannot look into {folder}: {error.strerror or error}.",
            hint="move the folder, or what is in it",
        ) from error


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file or leads to one; a link that leads nowhere is none."""
    if entry.is_symlink():
        return os.path.isfile(entry.path)  # noqa: PTH113 (Path's fails on a link to itself)
    return entry.is_file()


def ending_of(name: str) -> str:
    """Ending of a file's name, in small letters, with its dot."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (Path's takes as long as decoding)
