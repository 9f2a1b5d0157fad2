"""Text that is safe to print on a terminal."""

from __future__ import annotations


def printable(text: str, keep: str = "\n") -> str:
    """Escape the control characters that names of files and classes can contain, except `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)
