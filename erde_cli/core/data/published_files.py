"""The files of the published data sets: names, location and checksums.

File names, checksums and URLs come from torchvision's classes. Files lie where torchvision puts
them, so erde can use a folder that torchvision has filled.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from erde_cli.core.errors import DataError
from erde_cli.core.platform.torchvision_import import torchvision_datasets
from erde_cli.core.storage.cache import user_cache

ROOT_VARIABLE = "ERDE_DATA"
_CIFAR_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_SVHN_PAGE = "http://ufldl.stanford.edu/housenumbers/"


@dataclass(frozen=True)
class Published:
    """Facts about a published data set, from its web page."""

    classes: int
    train_images: int
    test_images: int
    page: str
    extra_images: int = 0


PUBLISHED = {
    "cifar10": Published(10, 50_000, 10_000, _CIFAR_PAGE),
    "cifar100": Published(100, 50_000, 10_000, _CIFAR_PAGE),
    "svhn": Published(10, 73_257, 26_032, _SVHN_PAGE, 531_131),
}


@dataclass(frozen=True)
class DataFile:
    """A file: its path below the root, and its MD5 in hexadecimal digits."""

    path: str
    md5: str


@dataclass(frozen=True)
class Archive:
    """A download, and the files that it contains."""

    url: str
    name: str
    md5: str
    files: tuple[DataFile, ...]

    @property
    def packed(self) -> bool:
        """Whether it must be unpacked; otherwise it is the file itself."""
        return self.files != (DataFile(self.name, self.md5),)


@dataclass(frozen=True)
class BadFile:
    """A file that is missing (`found` is None), or has the wrong MD5 (`found`)."""

    file: DataFile
    found: str | None

    def __str__(self) -> str:
        """Describe the problem in one line."""
        if self.found is None:
            return f"{self.file.path}: missing"
        return f"{self.file.path}: corrupt, got md5 {self.found}, expected md5 {self.file.md5}"


def data_root(given: str | None = None) -> Path:
    """Folder of the published files: the given one, else $ERDE_DATA, else one in the user's cache.

    Raises:
        DataError: the path is not a folder, or there is no home folder.
    """
    hint = f"type export {ROOT_VARIABLE}=FOLDER, or set data.root in the recipe, or give --root"
    try:
        root = Path(given or os.environ.get(ROOT_VARIABLE) or user_cache() / "erde" / "data")
        root = root.expanduser().absolute()
    except RuntimeError as error:  # there is no home folder
        raise DataError(
            "There is no folder for data sets.", got=str(error), expected="a folder", hint=hint
        ) from error
    if root.exists() and not root.is_dir():
        raise DataError(
            f"{root} is a file, not a folder.", expected="a folder for data sets", hint=hint
        )
    return root


def archives_of(name: str, *, extra: bool = False) -> list[Archive]:
    """All archives of a data set, as torchvision lists them.

    Args:
        name: cifar10, cifar100 or svhn.
        extra: include the extra images of svhn.
    """
    kind = getattr(torchvision_datasets(), name.upper())
    if name == "svhn":
        entries = [kind.split_list[split] for split in published_splits(extra=extra)]
        return [Archive(url, path, md5, (DataFile(path, md5),)) for url, path, md5 in entries]
    listed = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    files = tuple(DataFile(f"{kind.base_folder}/{path}", md5) for path, md5 in listed)
    return [Archive(kind.url, kind.filename, kind.tgz_md5, files)]


def published_splits(*, extra: bool) -> tuple[str, ...]:
    """Names of a data set's splits, as torchvision names those of svhn."""
    return ("train", "test", "extra") if extra else ("train", "test")


def bad_files(root: Path, archives: Sequence[Archive]) -> list[BadFile]:
    """The files that are missing or corrupt, by MD5. No file is unpickled.

    Raises:
        DataError: a file cannot be read.
    """
    found = ((file, md5_of(root / file.path)) for archive in archives for file in archive.files)
    return [BadFile(file, md5) for file, md5 in found if md5 != file.md5]


def md5_of(path: Path) -> str | None:
    """MD5 of a file, 32 hexadecimal digits, or None if it is missing.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        if not path.is_file():
            return None
        md5: str = torchvision_datasets().utils.calculate_md5(path)
    except OSError as error:
        raise DataError(
            f"Cannot read {path}: {error.strerror or error}.",
            expected="a readable file",
            hint="change its permissions, or remove it and download it again",
        ) from error
    return md5


def require_whole(name: str, root: Path, *, extra: bool = False) -> None:
    """Check that every file of a data set exists and has the right checksum.

    Raises:
        DataError: some do not; the message names each of them and how to get it.
    """
    archives = archives_of(name, extra=extra)
    bad = bad_files(root, archives)
    if not bad:
        return
    missing = sum(problem.found is None for problem in bad)
    total = sum(len(archive.files) for archive in archives)
    files = {problem.file for problem in bad}
    archives = [archive for archive in archives if files & set(archive.files)]
    raise DataError(
        f"Files of {name} are missing or corrupt in {root}:\n"
        + "\n".join(f"  {problem}" for problem in bad),
        got=f"{missing} missing and {len(bad) - missing} corrupt of {total} files",
        expected=addresses(name, archives),
        hint=f"{fetch_command(name, root, extra=extra)}, or add --set data.download=true to "
        f"erde run; {by_hand(root, archives)}",
    )


def addresses(name: str, archives: Sequence[Archive]) -> str:
    """URLs and checksums of archives, for a message."""
    listed = ", ".join(f"{archive.url} (md5 {archive.md5})" for archive in archives)
    return f"the files of {listed}; see {PUBLISHED[name].page}"


def fetch_command(name: str, root: Path, *, extra: bool) -> str:
    """The command that downloads a data set into a folder."""
    option = "" if root == data_root() else f" --root {quote(str(root))}"
    return f"erde data fetch {name}{option}{' --extra' if extra else ''}"


def by_hand(root: Path, archives: Sequence[Archive]) -> str:
    """How to install archives without erde's download, for a message."""
    folder = quote(str(root))
    put = f"by hand: put {' and '.join(archive.name for archive in archives)} into {folder}"
    unpack = [
        f"tar -xzf {quote(str(root / archive.name))} -C {folder}"
        for archive in archives
        if archive.packed
    ]
    return ", then type ".join([put, *unpack])
