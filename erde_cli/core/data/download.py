"""Downloads of the published data sets. Only complete and verified files appear."""

from __future__ import annotations

import errno
import socket
import tarfile
import zlib
from collections.abc import Iterator
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
    """Download and verify the archives whose files are missing or corrupt; return their names.

    Files are written to a temporary folder below the root, and moved once their checksums are
    right. An interrupted download leaves nothing behind.

    Args:
        name: cifar10, cifar100 or svhn.
        root: folder of the published files.
        observer: receives the number of bytes downloaded.
        extra: include the extra images of svhn.

    Raises:
        DataError: the folder cannot be made or written to.
        DownloadError: no network, a wrong checksum, or a full disk.
    """
    archives = archives_of(name, extra=extra)
    needed = [(archive, bad_files(root, [archive])) for archive in archives]
    needed = [(archive, bad) for archive, bad in needed if bad]
    for done, (archive, bad) in enumerate(needed):
        try:
            with _temporary_folder(root) as folder:
                _make(archive, root, folder, observer)
                for problem in bad:
                    path = root / problem.file.path
                    path.parent.mkdir(exist_ok=True)
                    (folder / problem.file.path).replace(path)
        except (OSError, HTTPException, RuntimeError, ValueError, *_UNPACKING) as error:
            left = [archive for archive, _ in needed[done:]]
            raise DownloadError(
                f"{name} cannot be downloaded into {root}.",
                got=_reason(error),
                expected=addresses(name, left),
                hint=f"solve that, then type {fetch_command(name, root, extra=extra)}; "
                f"{by_hand(root, left)}",
            ) from error
    return [archive.name for archive, _ in needed]


@contextmanager
def _temporary_folder(root: Path) -> Iterator[Path]:
    """A folder on the same disk as the root, removed at the end."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        made = TemporaryDirectory(dir=root, prefix=".erde-", ignore_cleanup_errors=True)
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise DataError(
            f"Cannot write into {root}: {error.strerror or error}.",
            hint="name another folder as data.root in the recipe, with --root, or in ERDE_DATA",
            expected="a writable folder",
        ) from error
    with made as folder:
        yield Path(folder)


def _make(archive: Archive, root: Path, folder: Path, observer: Observer) -> None:
    """Write the verified files of an archive to a folder."""
    utils = torchvision_datasets().utils
    path = root / archive.name  # may exist already, put there by the user or by torchvision
    if md5_of(path) != archive.md5:
        path = folder / archive.name
        observer.note(f"Downloading {archive.url} into {root}")
        with _reporting(observer, f"Downloading {archive.name}"), _timeout():
            try:
                utils.download_url(archive.url, folder, archive.name, archive.md5)
            except RuntimeError as error:  # torchvision's does not describe the downloaded file
                raise RuntimeError(_wrong_checksum(path, archive.md5) or str(error)) from error
    if archive.packed:
        _unpack(path, archive, folder)
    bad = bad_files(folder, [archive])
    if bad:
        raise RuntimeError("the archive has wrong contents: " + "; ".join(map(str, bad)))


def _unpack(path: Path, archive: Archive, folder: Path) -> None:
    """Extract the archive's listed files to a folder, and no others."""
    names = {file.path for file in archive.files}
    with tarfile.open(path) as packed:
        for member in packed:
            if member.name in names and member.isreg() and (content := packed.extractfile(member)):
                (folder / member.name).parent.mkdir(exist_ok=True)
                with (folder / member.name).open("wb") as handle:
                    copyfileobj(content, handle)


def _wrong_checksum(path: Path, expected: str) -> str | None:
    found = md5_of(path)
    return found and f"{path.stat().st_size:,} bytes with md5 {found}, expected md5 {expected}"


def _reason(error: BaseException) -> str:
    if isinstance(error, HTTPError):
        error.close()  # it holds the connection
    elif isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _Bar:
    """Replaces torchvision's progress bar, which would break a live display."""

    def __init__(
        self, observer: Observer, title: str, *, total: int | None = None, **options: Any
    ) -> None:
        del options
        self._report = partial(observer.progress, title)
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
            self._report(self._done, self._total)


@contextmanager
def _reporting(observer: Observer, title: str) -> Iterator[None]:
    """Send torchvision's progress to an observer instead of stderr."""
    utils = torchvision_datasets().utils
    bar = utils.tqdm
    utils.tqdm = partial(_Bar, observer, title)
    try:
        yield
    finally:
        utils.tqdm = bar


@contextmanager
def _timeout() -> Iterator[None]:
    """Give up on a server that falls silent; torchvision would wait forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
