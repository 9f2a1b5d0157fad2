"""Which names classes can have. They are shown on terminals and name folders of images."""

from __future__ import annotations

_LONGEST = 255  # characters; no file system allows longer folder names


def is_class_name(name: str) -> bool:
    """Whether a name is a single visible folder name of printable characters."""
    shown = name.isprintable() and len(name) <= _LONGEST
    return shown and bool(name) and "/" not in name and not name.startswith(".")
