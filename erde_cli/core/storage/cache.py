"""The cache of decoded images, teacher logits and exported stages."""

from __future__ import annotations

import atexit
import os
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from erde_cli.core.errors import InputError
from erde_cli.core.events import Observer
from erde_cli.core.figures import byte_size
from erde_cli.core.storage.files import make_folder
from erde_cli.core.storage.temporary import sweep

VARIABLE = "ERDE_CACHE"


def user_cache() -> Path:
    """The user's cache folder. A relative $XDG_CACHE_HOME is ignored, as its standard demands.

    Raises:
        RuntimeError: the user has no home folder.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def cache_folder(name: str) -> Path | None:
    """A folder of the cache to read from, which may not exist; None if it is not accessible.

    The cache is $ERDE_CACHE, or `erde` in the user's cache folder.
    """
    try:
        folder = _root() / name
        folder.exists()
    except (OSError, RuntimeError):
        return None
    return folder


def writable_folder(name: str, observer: Observer) -> Path | None:
    """Create a folder of the cache to write into; None, with a warning, if that fails.

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
        f"Cannot write to {where}: {reason}. Every command decodes images, computes teacher logits "
        f"and exports stages again. Set another cache folder: export {VARIABLE}=FOLDER"
    )
    return None


@cache
def temporary_folder() -> Path:
    """A folder that replaces the cache; removed when this process ends."""
    made = TemporaryDirectory(prefix="erde-")
    atexit.register(made.cleanup)
    return Path(made.name)


def _root() -> Path:
    """The cache folder.

    Raises:
        RuntimeError: the user has no home folder.
    """
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else user_cache() / "erde"


def make_room(folder: Path, needed: int) -> None:
    """Create a folder, remove unfinished files from it, and check for `needed` bytes of free space.

    Raises:
        InputError: the disk has less free space, or the folder cannot be created.
    """
    make_folder(folder)
    sweep(folder)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"The disk has no space for a cache of {byte_size(needed)}.",
            got=f"{byte_size(free)} free in {folder}",
            expected=f"{byte_size(needed)} free",
            hint=f"set a folder on another disk: export {VARIABLE}=FOLDER",
        )
