"""A folder as a command names it, without the folders of this machine."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Typed:
    """A folder as a word of a shell command. within: the folder that must lie where it is typed."""

    word: str
    within: str = ""

    @classmethod
    def of(cls, path: Path, inside: str = "") -> Typed:
        """The folder `inside` a path as it was typed, or only with the last part of the path.

        Absolute paths, and those that leave the current folder, name folders of this machine.
        """
        within = ""
        if path.is_absolute() or ".." in path.parts:
            within = path.resolve().name
            path = Path(within)
        word = str(path / inside)
        return cls(shlex.quote(f"./{word}" if word.startswith("-") else word), within)

    @property
    def where(self) -> str:
        """Where to type the command, if that is not where the report was asked for."""
        return f"in the folder that contains {self.within}" if self.within else ""

    def hint(self, command: str) -> str:
        """A command of erde, with `{}` for the folder, and where to type it."""
        text = f"erde {command.replace('{}', self.word)}"
        return f"{text}, {self.where}" if self.where else text
