"""Images in folders, one subfolder per class."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from erde_cli.core.data.sources import ImageArray, IntArray, Progress, to_array
from erde_cli.core.errors import DataError

_LISTED = 10  # unreadable files named in a message


class UnreadableError(DataError):
    """Files that are no readable image; `problems` holds each with its reason."""

    def __init__(self, root: Path, problems: list[tuple[Path, str]]) -> None:
        super().__init__(
            f"{len(problems)} files under {root} cannot be read as images:\n"
            + _listing([f"{path}: {reason}" for path, reason in problems]),
            hint="mend or remove them, or put unreadable: skip into the recipe's data section",
        )
        self.root = root
        self.problems = problems


@dataclass
class FolderSource:
    """Files in folders, one folder a class."""

    root: Path
    class_names: tuple[str, ...]
    files: list[Path]
    labels: IntArray
    is_test: NDArray[np.bool_] | None
    skip_unreadable: bool = False
    skipped: list[Path] = field(default_factory=list)

    def digest(self) -> str:
        """SHA-256 of the path (below the root), label and bytes of every file."""
        total = hashlib.sha256("\0".join(self.class_names).encode())
        with ThreadPoolExecutor(_workers()) as pool:
            for path, content in zip(self.files, pool.map(_digest, self.files), strict=True):
                total.update(os.fsencode(path.relative_to(self.root).as_posix()) + b"\0" + content)
        return total.hexdigest()

    def read(
        self, numbers: IntArray, size: int, progress: Progress | None = None
    ) -> tuple[ImageArray, IntArray]:
        """Decode images: uint8 [n, size, size, 3], and the numbers that could be read [n].

        Raises:
            DataError: files cannot be read, and they are not to be skipped.
        """
        images = np.empty((len(numbers), size, size, 3), dtype=np.uint8)
        readable = np.ones(len(numbers), dtype=bool)
        problems: list[tuple[Path, str]] = []

        def read_one(position: int) -> tuple[int, str | None]:
            path = self.files[numbers[position]]
            try:
                images[position] = _decode(path, size)
            except Exception as error:  # noqa: BLE001 (decoders raise anything on bad bytes)
                return position, f"{type(error).__name__}: {error}"
            return position, None

        # The filters of warnings belong to the whole process: set here once, not in each thread.
        with warnings.catch_warnings(), ThreadPoolExecutor(_workers()) as pool:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            for done, (position, problem) in enumerate(pool.map(read_one, range(len(numbers)))):
                if problem is not None:
                    readable[position] = False
                    problems.append((self.files[numbers[position]], problem))
                if progress is not None and (done % 64 == 63 or done + 1 == len(numbers)):
                    progress(done + 1, len(numbers))
        self._tell(problems)
        return (images if readable.all() else images[readable]), numbers[readable]

    def _tell(self, problems: list[tuple[Path, str]]) -> None:
        if problems and not self.skip_unreadable:
            raise UnreadableError(self.root, problems)
        known = set(self.skipped)
        self.skipped += [path for path, _ in problems if path not in known]


def folder_source(root: Path, *, skip_unreadable: bool = False) -> FolderSource:
    """List `root/train/<class>/*` and, where it exists, `root/test/<class>/*`.

    Raises:
        DataError: a folder is missing, there are fewer than two classes, or a class is empty.
    """
    train = root / "train"
    if not train.is_dir():
        raise DataError(
            f"There are no training images in {root}.",
            got="no such folder" if not root.is_dir() else f"no folder {train}",
            expected="train/<class>/*.png (or another image format) in it",
            hint="name your folder as data.root in the recipe, or with erde run RECIPE "
            "--set data.root=FOLDER",
        )
    names = _class_names(train)
    if len(names) < 2:
        raise DataError(
            f"A classifier needs two classes or more; {train} has {len(names)}.",
            expected="one folder per class in it",
        )
    files, labels = list_classes(train, names)
    test = root / "test"
    is_test = None
    if test.is_dir():
        unknown = sorted(set(_class_names(test)) - set(names))
        if unknown:
            raise DataError(
                f"The test split has classes that train lacks: {_some(unknown)}.",
                expected=f"only classes of {train}",
            )
        test_files, test_labels = list_classes(test, names, may_lack=True)
        is_test = np.arange(len(files) + len(test_files)) >= len(files)
        files, labels = files + test_files, np.concatenate([labels, test_labels])
    return FolderSource(root, names, files, labels, is_test, skip_unreadable)


def list_classes(
    folder: Path, class_names: Sequence[str], *, may_lack: bool = False
) -> tuple[list[Path], IntArray]:
    """Image files of `folder/<class>/`, sorted, and their labels [files].

    Raises:
        DataError: a class has no image (unless it may), or there is none at all.
    """
    formats = Image.registered_extensions().items()
    endings = {ending for ending, kind in formats if kind in Image.OPEN}
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        inside = (folder / name).rglob("*") if (folder / name).is_dir() else iter(())
        found = sorted(
            path
            for path in inside
            if path.suffix.lower() in endings
            and not any(part.startswith(".") for part in path.relative_to(folder / name).parts)
            and path.is_file()
        )
        if not found and not may_lack:
            raise DataError(
                f"The class {name!r} has no images.",
                got=f"no file with the ending of an image in {folder / name}",
                expected="at least two images per class",
                hint="add images, or remove the folder",
            )
        files += found
        labels += [label] * len(found)
    if not files:
        raise DataError(f"There are no images in {folder}.", expected="<class>/* in it")
    return files, np.array(labels, dtype=np.int64)


def _class_names(folder: Path) -> tuple[str, ...]:
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


def _decode(path: Path, size: int) -> ImageArray:
    with Image.open(path) as image:
        image.load()
        return to_array(ImageOps.exif_transpose(image), size)


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").digest()
    except OSError as error:
        raise DataError(f"Cannot open {path}: {error.strerror or error}.") from error


def _workers() -> int:
    return min(32, os.cpu_count() or 1)


def _listing(lines: list[str]) -> str:
    more = [f"... and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n".join(f"  {line}" for line in lines[:_LISTED] + more)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(repr(name) for name in names[:_LISTED]) + more
