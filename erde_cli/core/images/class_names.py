"""Class names in documents, and their form for comparisons."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

from erde_cli.core.images.valid_names import is_class_name


def normal_form(name: str) -> str:
    """A name in Unicode form NFC, for comparisons. File systems also store other forms."""
    return unicodedata.normalize("NFC", name)


def _checked(name: str) -> str:
    if not is_class_name(name):
        raise ValueError("a class name must consist of printable characters and must not be a path")
    return name


ClassName = Annotated[str, AfterValidator(_checked)]
ClassNames = Annotated[list[ClassName], Field(min_length=2)]
