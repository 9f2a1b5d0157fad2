"""Text that a terminal shows as it is."""

from __future__ import annotations


def printable(text: str, keep: str = "\n") -> str:
    """Show control characters, which file and class names may hold, instead of obeying them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)
