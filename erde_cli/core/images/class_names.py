"""Valid class names. They are shown on terminals and name folders of images."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

_LONGEST = 255  # characters; no file system allows longer folder names


def is_class_name(name: str) -> bool:
    """Whether a name is a single visible folder name of printable characters."""
    shown = name.isprintable() and len(name) <= _LONGEST
    return shown and bool(name) and "/" not in name and not name.startswith(".")


def normal_form(name: str) -> str:
    """A name in Unicode form NFC, for comparisons. File systems also store other forms."""
    return unicodedata.normalize("NFC", name)


def _checked(name: str) -> str:
    if not is_class_name(name):
        raise ValueError("a class name must consist of printable characters and must not be a path")
    return name


ClassName = Annotated[str, AfterValidator(_checked)]
ClassNames = Annotated[list[ClassName], Field(min_length=2)]
