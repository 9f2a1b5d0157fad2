"""Where erde keeps what it can make again: decoded images, teachers' logits, exported stages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from erde_cli.core.errors import InputError
from erde_cli.core.files import make_folder
from erde_cli.core.temporary import sweep

VARIABLE = "ERDE_CACHE"


def user_cache() -> Path:
    """The user's cache folder; a relative $XDG_CACHE_HOME is to be ignored, says its standard."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def cache_folder(*parts: str) -> Path:
    """A folder below $ERDE_CACHE, or below `erde` in the user's cache; not made yet."""
    named = os.environ.get(VARIABLE)
    root = Path(named).expanduser() if named else user_cache() / "erde"
    return root.joinpath(*parts)


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
