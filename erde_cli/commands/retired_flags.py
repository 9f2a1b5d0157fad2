"""Answers to `erde compare --grid`, `--vary` and `--own`: the section that replaces them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from erde_cli.core.errors import InputError
from erde_cli.core.recipe.students import IGNORED_KEYS

_METHODS = "erde,kd,cross_entropy"


def refuse_retired_flags(
    methods: str | None, grid: Sequence[str], vary: Sequence[str], own: Sequence[str]
) -> None:
    """Refuse the flags, with the students that they meant as a section of the recipe.

    Raises:
        InputError: always.
    """
    students = [
        line
        for method in (methods or _METHODS).split(",")
        for line in _students(method.strip(), grid, vary, own)
    ]
    typed = [("--grid", grid), ("--vary", vary), ("--own", own)]
    typed += [("--methods", [methods])] if methods else []
    raise InputError(
        "erde compare now reads its students from the recipe.",
        got=" ".join(f"{flag} {text}" for flag, texts in typed for text in texts),
        expected="\n".join(
            ["in the recipe", "comparison:", "  students:", *(f"    - {one}" for one in students)]
        ),
        hint="write this section into the recipe, and type the command without these options",
    )


def _students(
    method: str, grid: Sequence[str], vary: Sequence[str], own: Sequence[str]
) -> Iterator[str]:
    """Lines of one method: its plain student, then what --grid and --vary made of it."""
    plain = [text.partition(":")[2] for text in own if text.startswith(f"{method}:")]
    multiplied = [_settings(text) for text in grid if _is_read(method, text)]
    alone = [_settings(text) for text in vary if _is_read(method, text)]
    yield _student(method, method, plain)
    for settings in [*product(*multiplied), *((one,) for values in alone for one in values)]:
        if settings:
            yield _student("-".join([method, *map(_words, settings)]), method, [*plain, *settings])


def _settings(text: str) -> list[str]:
    """`key=a,b` as `key=a` and `key=b`; commas inside brackets belong to a value."""
    key, _, values = text.partition("=")
    return [f"{key}={value.strip()}" for value in re.split(r",(?![^\[{]*[\]}])", values)]


def _words(setting: str) -> str:
    """A setting as a part of a name: `weights.entropy=0.5` as `entropy-0.5`."""
    key, _, value = setting.partition("=")
    return re.sub(r"[^\w.]+", "-", f"{key.rpartition('.')[2]}-{value}").strip("-")


def _is_read(method: str, text: str) -> bool:
    return method != "static" and not text.startswith(IGNORED_KEYS.get(method, ()))


def _student(name: str, method: str, settings: Sequence[str]) -> str:
    """A student in YAML, on one line."""
    changes: dict[str, Any] = {}
    for dotted in settings if name == method else [f"distillation.method={method}", *settings]:
        *sections, last = dotted.partition("=")[0].split(".")
        inner = changes
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = dotted.partition("=")[2]
    return _yaml({"name": name, **changes}) if changes else name


def _yaml(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return "{" + ", ".join(f"{key}: {_yaml(one)}" for key, one in value.items()) + "}"
