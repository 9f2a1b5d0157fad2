"""Downloads of the published data sets: whole and verified files appear, or none."""

from __future__ import annotations

import errno
import socket
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError, URLError

from erde_cli.core.data.published_files import (
    Archive,
    BadFile,
    addresses,
    archives_of,
    bad_files,
    by_hand,
    fetch_command,
    md5_of,
)
from erde_cli.core.errors import DataError, DownloadError
from erde_cli.core.events import Observer
from erde_cli.core.platform.torchvision_import import torchvision_datasets

_SILENCE = 60.0  # seconds without a byte after which a download is given up
_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNPACKING = (tarfile.TarError, zlib.error, EOFError)


def fetch(name: str, root: Path, observer: Observer, *, extra: bool = False) -> list[str]:
    """Download and verify what is missing or corrupt; return the archives that were needed.

    Files are made in a folder of their own below the root and are put in their places when their
    checksums fit: what is stopped half-way leaves nothing behind.

    Args:
        name: cifar10, cifar100 or svhn.
        root: folder of the published files.
        observer: receives the number of bytes downloaded.
        extra: the extra images of svhn as well.

    Raises:
        DataError: the folder cannot be made or written to.
        DownloadError: no network, a wrong checksum, a full disk.
    """
    archives = archives_of(name, extra=extra)
    wanted = [(archive, bad_files(root, [archive])) for archive in archives]
    wanted = [(archive, bad) for archive, bad in wanted if bad]
    for done, (archive, bad) in enumerate(wanted):
        try:
            with _workplace(root) as workplace:
                _make(archive, root, workplace, observer)
                _put(bad, workplace, root)
        except (OSError, HTTPException, RuntimeError, ValueError, *_UNPACKING) as error:
            left = [archive for archive, _ in wanted[done:]]
            raise _failed(name, root, left, _reason(error), extra=extra) from error
    return [archive.name for archive, _ in wanted]


@contextmanager
def _workplace(root: Path) -> Iterator[Path]:
    """A folder on the disk of the root, which goes away at the end."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        made = TemporaryDirectory(dir=root, prefix=".erde-", ignore_cleanup_errors=True)
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise DataError(
            f"Cannot write into {root}: {error.strerror or error}.",
            hint="name another folder, as data.root in the recipe, with --root, or in ERDE_DATA",
            expected="a folder that may be written to",
        ) from error
    with made as folder:
        yield Path(folder)


def _make(archive: Archive, root: Path, workplace: Path, observer: Observer) -> None:
    """Make an archive's files in the workplace, and see that they are whole."""
    utils = torchvision_datasets().utils
    path = root / archive.name  # it may lie there already, put there by hand or by torchvision
    if md5_of(path) != archive.md5:
        path = workplace / archive.name
        observer.note(f"Downloading {archive.url} into {root}")
        with _reporting(observer, f"Downloading {archive.name}"), _impatient():
            try:
                utils.download_url(archive.url, workplace, archive.name, archive.md5)
            except RuntimeError as error:  # of torchvision; does not say what came instead
                raise RuntimeError(_compare(path, archive.md5) or str(error)) from error
    if archive.packed:
        _unpack(path, archive, workplace)
    bad = bad_files(workplace, [archive])
    if bad:
        raise RuntimeError("the archive does not hold what it should: " + "; ".join(map(str, bad)))


def _unpack(path: Path, archive: Archive, workplace: Path) -> None:
    """Take the files that are wanted out of an archive, and nothing else, whatever it holds."""
    wanted = {file.path for file in archive.files}
    with tarfile.open(path) as packed:
        for member in packed:
            content = (
                packed.extractfile(member) if member.name in wanted and member.isreg() else None
            )
            if content is not None:
                place = workplace / member.name
                place.parent.mkdir(exist_ok=True)
                with place.open("wb") as handle:
                    copyfileobj(content, handle)


def _put(bad: Sequence[BadFile], workplace: Path, root: Path) -> None:
    for one in bad:
        place = root / one.file.path
        place.parent.mkdir(exist_ok=True)
        (workplace / one.file.path).replace(place)


def _compare(path: Path, expected: str) -> str | None:
    found = md5_of(path)
    return found and f"{path.stat().st_size:,} bytes with md5 {found}, expected md5 {expected}"


def _reason(error: BaseException) -> str:
    if isinstance(error, HTTPError):
        error.close()  # it holds the connection
    elif isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _failed(
    name: str, root: Path, archives: Sequence[Archive], reason: str, *, extra: bool
) -> DownloadError:
    return DownloadError(
        f"{name} cannot be downloaded into {root}.",
        got=reason,
        expected=addresses(name, archives),
        hint=f"once that is mended: {fetch_command(name, root, extra=extra)}; "
        f"{by_hand(root, archives)}",
    )


class _Bar:
    """Takes the place of torchvision's own bar, which a live display would tear to pieces."""

    def __init__(
        self, observer: Observer, title: str, *, total: int | None = None, **options: Any
    ) -> None:
        del options
        self._tell = partial(observer.progress, title)
        self._total = total
        self._done = 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, count: int) -> None:
        """Count bytes."""
        self._done += count
        if self._total:
            self._tell(self._done, self._total)


@contextmanager
def _reporting(observer: Observer, title: str) -> Iterator[None]:
    """Send an observer what torchvision would show in a bar on stderr."""
    utils = torchvision_datasets().utils
    bar = utils.tqdm
    utils.tqdm = partial(_Bar, observer, title)
    try:
        yield
    finally:
        utils.tqdm = bar


@contextmanager
def _impatient() -> Iterator[None]:
    """Give up on a server that falls silent; torchvision would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
