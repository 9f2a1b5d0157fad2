"""The files of the published data sets: which they are, where they lie, whether they are whole.

File names, checksums and addresses are those of torchvision's classes; here are no copies. Files
lie as torchvision lays them, so that a folder it has filled serves erde as well.
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
    """Plain facts of a published data set, as its page tells them."""

    name: str
    classes: int
    train_images: int
    test_images: int
    page: str
    extra_images: int = 0


PUBLISHED = {
    facts.name: facts
    for facts in (
        Published("cifar10", 10, 50_000, 10_000, _CIFAR_PAGE),
        Published("cifar100", 100, 50_000, 10_000, _CIFAR_PAGE),
        Published("svhn", 10, 73_257, 26_032, _SVHN_PAGE, 531_131),
    )
}


@dataclass(frozen=True)
class DataFile:
    """A file: its path below the root, and its MD5."""

    path: str
    md5: str


@dataclass(frozen=True)
class Archive:
    """What is downloaded in one piece, and the files that it holds."""

    url: str
    name: str
    md5: str
    files: tuple[DataFile, ...]

    @property
    def packed(self) -> bool:
        """Whether it is to be unpacked; otherwise it is the file itself."""
        return self.files != (DataFile(self.name, self.md5),)


@dataclass(frozen=True)
class BadFile:
    """A file that is missing (`found` is None), or whose MD5 is another (`found`)."""

    file: DataFile
    found: str | None

    def __str__(self) -> str:
        """Return what is wrong in one line."""
        if self.found is None:
            return f"{self.file.path}: missing"
        return f"{self.file.path}: corrupt, got md5 {self.found}, expected md5 {self.file.md5}"


def data_root(given: str | None = None) -> Path:
    """Folder of the published files: the given one, else $ERDE_DATA, else one in the user's cache.

    Raises:
        DataError: something that is no folder is there.
    """
    hint = f"export {ROOT_VARIABLE}=FOLDER, or name it as data.root in the recipe or with --root"
    try:
        root = Path(given or os.environ.get(ROOT_VARIABLE) or user_cache() / "erde" / "data")
        root = root.expanduser().absolute()
    except RuntimeError as error:  # there is no home folder
        raise DataError(
            "There is no folder for data sets.",
            got=str(error),
            hint=hint,
            expected="a folder that can be found",
        ) from error
    if root.exists() and not root.is_dir():
        raise DataError(
            f"{root} is a file, and no folder for data sets.", hint=hint, expected="a folder"
        )
    return root


def archives_of(name: str, *, extra: bool = False) -> list[Archive]:
    """Everything that a data set is made of, as torchvision has it.

    Args:
        name: cifar10, cifar100 or svhn.
        extra: the extra images of svhn as well.
    """
    kind = getattr(torchvision_datasets(), name.upper())
    if name == "svhn":
        entries = [kind.split_list[split] for split in published_splits(extra=extra)]
        return [Archive(url, path, md5, (DataFile(path, md5),)) for url, path, md5 in entries]
    listed = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    files = tuple(DataFile(f"{kind.base_folder}/{path}", md5) for path, md5 in listed)
    return [Archive(kind.url, kind.filename, kind.tgz_md5, files)]


def published_splits(*, extra: bool) -> tuple[str, ...]:
    """The splits of a data set, by torchvision's names for those of svhn."""
    return ("train", "test", "extra") if extra else ("train", "test")


def bad_files(root: Path, archives: Sequence[Archive]) -> list[BadFile]:
    """The files that are missing or corrupt, by their MD5 alone; none of them is unpickled.

    Raises:
        DataError: a file cannot be read.
    """
    found = ((file, md5_of(root / file.path)) for archive in archives for file in archive.files)
    return [BadFile(file, md5) for file, md5 in found if md5 != file.md5]


def md5_of(path: Path) -> str | None:
    """MD5 of a file, 32 hexadecimal digits, or None if it is missing.

    Raises:
        DataError: it cannot be read.
    """
    try:
        if not path.is_file():
            return None
        md5: str = torchvision_datasets().utils.calculate_md5(path)
    except OSError as error:
        raise DataError(
            f"Cannot read {path}: {error.strerror or error}.",
            expected="a file that may be opened",
            hint="let yourself read it, or remove it and download it again",
        ) from error
    return md5


def require_whole(name: str, root: Path, *, extra: bool = False) -> None:
    """Check that every file of a data set is there and whole.

    Raises:
        DataError: some are not; it names each of them, and says how to get it.
    """
    archives = archives_of(name, extra=extra)
    bad = bad_files(root, archives)
    if not bad:
        return
    missing = sum(one.found is None for one in bad)
    total = sum(len(archive.files) for archive in archives)
    wanted = {one.file for one in bad}
    archives = [archive for archive in archives if wanted & set(archive.files)]
    raise DataError(
        f"{name} is not whole in {root}:\n" + "\n".join(f"  {one}" for one in bad),
        got=f"{missing} missing and {len(bad) - missing} corrupt of {total} files",
        expected=addresses(name, archives),
        hint=f"{fetch_command(name, root, extra=extra)}, or type --set data.download=true with "
        f"erde run; {by_hand(root, archives)}",
    )


def addresses(name: str, archives: Sequence[Archive]) -> str:
    """Where archives are found, and their checksums."""
    listed = ", ".join(f"{archive.url} (md5 {archive.md5})" for archive in archives)
    return f"the files of {listed}; see {PUBLISHED[name].page}"


def fetch_command(name: str, root: Path, *, extra: bool) -> str:
    """The command that downloads a data set into a folder."""
    where = "" if root == data_root() else f" --root {quote(str(root))}"
    return f"erde data fetch {name}{where}{' --extra' if extra else ''}"


def by_hand(root: Path, archives: Sequence[Archive]) -> str:
    """How to do without erde's download."""
    folder = quote(str(root))
    put = f"by hand: put {' and '.join(archive.name for archive in archives)} into {folder}"
    unpack = [
        f"tar -xzf {quote(str(root / archive.name))} -C {folder}"
        for archive in archives
        if archive.packed
    ]
    return ", then type ".join([put, *unpack])
