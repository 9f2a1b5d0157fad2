"""Where erde keeps what it can make again: decoded images, teachers' logits, exported stages."""

from __future__ import annotations

import atexit
import os
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from erde_cli.core.errors import InputError
from erde_cli.core.events import Observer
from erde_cli.core.storage.files import make_folder
from erde_cli.core.storage.temporary import sweep

VARIABLE = "ERDE_CACHE"


def user_cache() -> Path:
    """The user's cache folder; a relative $XDG_CACHE_HOME is to be ignored, says its standard.

    Raises:
        RuntimeError: the user has no home folder.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def cache_folder(name: str) -> Path | None:
    """A folder of the cache, to be read from; perhaps not there. None where it cannot be looked at.

    It is below $ERDE_CACHE, or below `erde` in the user's cache.
    """
    try:
        folder = _root() / name
        folder.exists()
    except (OSError, RuntimeError):
        return None
    return folder


def writable_folder(name: str, observer: Observer) -> Path | None:
    """A folder of the cache, made, to be written into; None, with a warning, where that cannot be.

    The warning is the same for every folder, so that it is shown once.
    """
    where = "the user's cache"
    try:
        where = str(_root())
        folder = _root() / name
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
    observer.warning(
        f"Decoded images, teachers' logits and exported stages cannot be kept in {where}, so every "
        f"command makes them anew: {reason}. Name another folder: export {VARIABLE}=FOLDER"
    )
    return None


@cache
def temporary_folder() -> Path:
    """A folder in the place of the cache, removed when this process ends."""
    made = TemporaryDirectory(prefix="erde-")
    atexit.register(made.cleanup)
    return Path(made.name)


def _root() -> Path:
    """The cache.

    Raises:
        RuntimeError: the user has no home folder.
    """
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else user_cache() / "erde"


def make_room(folder: Path, needed: int) -> None:
    """Make a folder for `needed` bytes more, swept of what others left half-written.

    Raises:
        InputError: the disk has less, or the folder cannot be made.
    """
    make_folder(folder)
    sweep(folder)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"There is no room for a cache of {in_words(needed)}.",
            got=f"{in_words(free)} free in {folder}",
            hint=f"name a folder on another disk: export {VARIABLE}=FOLDER",
            expected=f"{in_words(needed)} free",
        )


def in_words(size: float) -> str:
    """A number of bytes in a unit that suits it, such as `21.6 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
