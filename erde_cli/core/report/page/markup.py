"""HTML and SVG as text. Everything that is not markup already is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_VOID = frozenset({"br", "img", "input", "link", "meta"})
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)


class Markup(str):
    """Text that is HTML. Any other `str` is text of a user and is escaped where it is used."""

    __slots__ = ()


Child = str | Iterable[str]


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """An element with its children; text is escaped.

    Args:
        name: of the element.
        children: markup, text, or several of them.
        attributes: `_` stands for `-`, and a `_` at the end is left out (`class_`). None and False
            leave an attribute out, True writes its name alone.
    """
    head = name + "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{head}>")
    return Markup(f"<{head}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Children one after another; text is escaped."""
    parts = ([child] if isinstance(child, str) else child for child in children)
    return Markup("".join(_escaped(one) for part in parts for one in part))


def _attribute(key: str, value: str | float | bool | None) -> str:
    name = key.removesuffix("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    return f' {name}="{html.escape(clean(value)) if isinstance(value, str) else number(value)}"'


def number(value: float) -> str:
    """A coordinate, with at most one digit after the point."""
    return f"{value:z.1f}".removesuffix(".0")


def _escaped(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(clean(text), quote=False)


def clean(text: str) -> str:
    """Text with a replacement for what a file of HTML cannot hold or a name must not do.

    That is control characters, halves of surrogates, and marks that turn the direction of text, by
    which a name could rewrite the line that it is in.
    """
    return _UNSAFE.sub("�", text)
