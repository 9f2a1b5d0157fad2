"""The errors that erde raises.

    ErdeError                     exit code 1: the machine, not the user
    ├── StoppedError              Ctrl-C or SIGTERM, progress is saved; exit code 130 or 143
    ├── TrainingError             training cannot continue (non-finite loss)
    ├── UnsupportedOperatorError  an operator whose multiply-adds erde cannot count
    ├── DownloadError             a published data set cannot be downloaded
    └── InputError                exit code 2: the input cannot be used
        ├── RecipeError           a recipe or a --set, with all its problems
        ├── DataError             images, folders, labels
        ├── BundleError           a trained model on disk
        └── RunError              a run folder made by another recipe

An error states what was got, what was expected, and what to type next. Only the command line turns
it into a message (or a JSON object) and an exit code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

# Hints of several packages about an export.
EXPORT_AGAIN = "export it again: erde export BUNDLE --format onnx --out FILE"
STAGES_AGAIN = "export it again: erde export BUNDLE --format onnx-staged --out FOLDER"

_LISTED = 20  # problems of a recipe in a message; its JSON has all of them
_LONGEST = 200  # characters of user input that a message repeats


class ErdeError(Exception):
    """A failure with a message, `got`, `expected`, and `hint`: what to type next."""

    exit_code = 1

    def __init__(self, message: str, *, got: str = "", expected: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.got = got
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        """The message, then one line each for `got`, `expected` and `hint`."""
        parts = [self.message]
        parts += [f"  got:      {self.got}"] if self.got else []
        parts += [f"  expected: {self.expected}"] if self.expected else []
        parts += [f"  next:     {self.hint}"] if self.hint else []
        return "\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return error_object(
            type(self).__name__, self.message, self.exit_code, self.got, self.expected, self.hint
        )


class StoppedError(ErdeError):
    """Ctrl-C or SIGTERM stopped the work; its progress is saved."""

    def __init__(self, message: str, *, signal: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = 128 + signal


class TrainingError(ErdeError):
    """Training cannot continue."""


class UnsupportedOperatorError(ErdeError):
    """A model uses an operator whose multiply-adds erde cannot count."""


class DownloadError(ErdeError):
    """A published data set cannot be downloaded."""


class InputError(ErdeError):
    """The input cannot be used."""

    exit_code = 2


class DataError(InputError):
    """Images, folders or labels cannot be used."""


class BundleError(InputError):
    """A bundle is missing, incomplete or inconsistent."""


class RunError(InputError):
    """A run folder was made by another recipe."""


@dataclass(frozen=True)
class Problem:
    """A problem of a recipe: the file, path and value, and the rule that it breaks."""

    file: str
    path: str
    value: str
    rule: str
    nearest: str = ""

    def __str__(self) -> str:
        """The problem in one line."""
        value = f" = {brief(self.value)}" if self.value else ""
        nearest = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.file}: {brief(self.path) or '(recipe)'}{value}: {self.rule}{nearest}"


class RecipeError(InputError):
    """A recipe is invalid; `problems` holds every mistake in it."""

    _HINT = "see a whole recipe with: erde recipes show digits; every key: erde recipes schema"

    def __init__(self, problems: list[Problem], *, hint: str = _HINT) -> None:
        count = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
        lines = [f"  {problem}" for problem in problems[:_LISTED]]
        lines += [f"  ... and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
        super().__init__("\n".join([f"The recipe has {count}:", *lines]), hint=hint)
        self.problems = problems

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints, with one object per problem."""
        document = super().to_json()
        document["error"]["problems"] = [asdict(problem) for problem in self.problems]
        return document


def error_object(
    kind: str, message: str, exit_code: int, got: str = "", expected: str = "", hint: str = ""
) -> dict[str, Any]:
    """The object that `--json` prints for an error."""
    fields = {"type": kind, "message": message, "got": got, "expected": expected, "hint": hint}
    return {"error": {**fields, "exit_code": exit_code}}


def brief(text: str) -> str:
    """User input for a message, cut to 200 characters."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def first_reason(error: ValidationError) -> str:
    """The first reason why a document does not validate, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return brief(f"{where}: {first['msg']}".removeprefix(": "))
