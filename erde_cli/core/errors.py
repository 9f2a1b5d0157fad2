"""Every error that erde raises on purpose.

    ErdeError                     exit code 1: the machine, not the user
    ├── StoppedError              Ctrl-C or SIGTERM, all saved; exit code 130 or 143
    ├── TrainingError             training cannot go on (non-finite loss)
    ├── UnsupportedOperatorError  an operator whose multiply-adds are not known
    ├── DownloadError             a published data set cannot be downloaded
    └── InputError                exit code 2: what the user gave cannot be used
        ├── RecipeError           a recipe or a --set; carries every problem at once
        ├── DataError             images, folders, labels
        ├── BundleError           a trained model on disk
        └── RunError              a run folder made by another recipe

An error says what was got, what was expected, and what to type next. The command line turns it
into one message (or one JSON object) and one exit code; nothing else catches it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

_LISTED = 20  # problems of a recipe in a message; all of them are in its JSON
_LONGEST = 200  # characters of what the user gave, as a message repeats it


class ErdeError(Exception):
    """A failure with a message for a person: `got`, `expected`, and `hint`, what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, got: str = "", expected: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.got = got
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        """Return the whole message, one part a line."""
        parts = [self.message]
        parts += [f"  got:      {self.got}"] if self.got else []
        parts += [f"  expected: {self.expected}"] if self.expected else []
        parts += [f"  next:     {self.hint}"] if self.hint else []
        return "\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the error as the object that `--json` prints."""
        fields = {
            "type": type(self).__name__,
            "message": self.message,
            "got": self.got,
            "expected": self.expected,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }
        return {"error": fields}


class StoppedError(ErdeError):
    """Ctrl-C or SIGTERM stopped the work, and what it came to is saved."""

    def __init__(self, message: str, *, signal: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = 128 + signal


class TrainingError(ErdeError):
    """Training cannot go on."""


class UnsupportedOperatorError(ErdeError):
    """A model uses an operator whose multiply-adds erde cannot count."""


class DownloadError(ErdeError):
    """A published data set cannot be downloaded."""


class InputError(ErdeError):
    """What the user gave cannot be used."""

    exit_code = 2


class DataError(InputError):
    """Images, folders or labels cannot be used."""


class BundleError(InputError):
    """A bundle is missing, incomplete, or not what it says it is."""


class RunError(InputError):
    """A run folder was made by another recipe."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a recipe: where it stands, what it is, the rule it breaks."""

    file: str
    path: str
    value: str
    rule: str
    nearest: str = ""

    def __str__(self) -> str:
        """Return the problem in one line."""
        value = f" = {brief(self.value)}" if self.value else ""
        nearest = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.file}: {brief(self.path) or '(recipe)'}{value}: {self.rule}{nearest}"


class RecipeError(InputError):
    """A recipe is wrong; `problems` holds every mistake found."""

    _HINT = "see a whole recipe with: erde recipes show digits; every key: erde recipes schema"

    def __init__(self, problems: list[Problem], *, hint: str = _HINT) -> None:
        count = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
        lines = [f"  {problem}" for problem in problems[:_LISTED]]
        lines += [f"  ... and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
        super().__init__("\n".join([f"The recipe has {count}:", *lines]), hint=hint)
        self.problems = problems

    def to_json(self) -> dict[str, Any]:
        """Return the error with one object per problem."""
        document = super().to_json()
        document["error"]["problems"] = [asdict(problem) for problem in self.problems]
        return document


def brief(text: str) -> str:
    """What the user gave, cut where it is longer than a message can bear."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def first_reason(error: ValidationError) -> str:
    """Why a document does not validate, the first reason in one line: pydantic has pages."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return brief(f"{where}: {first['msg']}".removeprefix(": "))
