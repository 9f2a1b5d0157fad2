"""What a class may be called: it is shown on terminals, and names a folder of images."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

_LONGEST = 255  # characters; no file system has longer names of folders


def is_class_name(name: str) -> bool:
    """Whether it is the name of one visible folder, in characters that can be shown."""
    shown = name.isprintable() and len(name) <= _LONGEST
    return shown and bool(name) and "/" not in name and not name.startswith(".")


def one_form(name: str) -> str:
    """A name in the one Unicode form (NFC) in which names are compared; systems store others."""
    return unicodedata.normalize("NFC", name)


def _checked(name: str) -> str:
    if not is_class_name(name):
        raise ValueError("no name of a class: printable characters, no path")
    return name


ClassName = Annotated[str, AfterValidator(_checked)]
ClassNames = Annotated[list[ClassName], Field(min_length=2)]
