"""What students a comparison has: methods times a grid. Imports nothing heavy: errors come at once.

A key that a method does not read multiplies nothing: `kd` has no entropy term, and `cross_entropy`
no teacher, so that a grid over either trains them once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from erde_cli.core.errors import InputError

if TYPE_CHECKING:
    from erde_cli.core.recipe.sections.distillation import Method

METHODS: tuple[Method, ...] = (
    "erde",
    "kd",
    "cross_entropy",
)  # each is compared with those after it
STATIC = "static"  # asked for like a method: networks without early exits, as rivals
_PREFIX = "distillation."
_OPEN = (_PREFIX, "training.student.")
_FIXED = ("distillation.method", "distillation.teacher_cache")
_UNREAD: dict[Method, tuple[str, ...]] = {
    "erde": (),
    "kd": (
        "distillation.weights.entropy", "distillation.form", "distillation.entropy_on",
        "distillation.entropy_at_last_exit", "distillation.unsure_above",
    ),
    "cross_entropy": (_PREFIX,),
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A student's method, and what it changes in the recipe: texts as `--set` takes them."""

    method: Method
    settings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name of the student, and of its folder."""
        parts = [text.removeprefix(_PREFIX) for text in self.settings]
        return "+".join([self.method, *(re.sub(r"[^\w.=-]+", "_", part) for part in parts)])

    @property
    def name(self) -> str:
        """Name of the student for people: "erde: weights entropy 0, temperature 4"."""
        told = ", ".join(map(_in_words, self.settings))
        return f"{self.method}: {told}" if told else self.method


def _in_words(setting: str) -> str:
    """A setting without its section and without the signs of YAML."""
    for section in _OPEN:
        setting = setting.removeprefix(section)
    words = re.sub(r"[\s{}\[\]\"'=:_]+|\.(?=[a-z])", " ", setting)
    words = re.sub(r" *, *", ", ", words).strip()
    return re.sub(r"\btrue\b", "on", re.sub(r"\bfalse\b", "off", words))


def parse_methods(text: str) -> tuple[list[Method], bool]:
    """Read methods such as "erde,kd,static", in the order in which they are compared.

    Returns:
        The methods, and whether static rivals are wanted as well.

    Raises:
        InputError: one is unknown or named twice, or there are rivals alone.
    """
    given = [part.strip() for part in text.split(",")]
    known = {*METHODS, STATIC}
    if len(set(given)) < len(given) or not set(given) <= known or given == [STATIC]:
        raise InputError(
            "Methods are named once each, with commas between them.",
            got=f"--methods {text}",
            expected=f"some of {','.join(METHODS)}, and {STATIC} beside them",
            hint="type for instance --methods erde,kd",
        )
    return [method for method in METHODS if method in given], STATIC in given


def variants_of(
    methods: Sequence[Method], grid: Sequence[str], vary: Sequence[str] = ()
) -> list[Variant]:
    """Every method with every combination of the grid's values, and with single changes, each once.

    Args:
        methods: from `parse_methods`.
        grid: texts `section.key=value,value`; commas inside brackets belong to a value.
        vary: the same, but each value is tried alone, next to the rest.

    Raises:
        InputError: a text has no values, or its key would make the students incomparable.
    """
    axes, single = _lines(grid, "--grid"), _lines(vary, "--vary")
    found: dict[Variant, None] = {}
    for method in methods:
        combined = product(*_read_by(method, axes))
        alone = [(setting,) for axis in _read_by(method, single) for setting in axis]
        found |= dict.fromkeys(Variant(method, settings) for settings in [*combined, *alone])
    return list(found)


def own_settings(texts: Sequence[str], methods: Sequence[Method]) -> dict[Method, tuple[str, ...]]:
    """Settings of one method alone, such as "kd:training.student.weight_decay=1e-3", by method.

    Raises:
        InputError: the method is not compared, or the key would make the students incomparable.
    """
    found: dict[Method, tuple[str, ...]] = dict.fromkeys(methods, ())
    for text in texts:
        name, colon, setting = text.partition(":")
        method = next((one for one in found if one == name), None)
        if not colon or method is None:
            raise InputError(
                "--own takes a method that is compared, and what it alone is given.",
                got=f"--own {text}",
                expected=f"--own METHOD:SECTION.KEY=VALUE, a method of {','.join(methods)}",
                hint="type for instance --own kd:training.student.weight_decay=1e-3",
            )
        key, values = _line(setting, "--own")
        if len(values) > 1:
            raise InputError(
                "--own takes one value.",
                got=f"--own {text}",
                hint="try several with --vary",
                expected="--own METHOD:SECTION.KEY=VALUE",
            )
        if key.startswith(_UNREAD[method] or ("\0",)):
            raise InputError(
                f"{method} does not read {key}.",
                got=f"--own {text}",
                expected="a key that its students depend on",
                hint="leave it out",
            )
        found[method] += (f"{key}={values[0]}",)
    return found


def _read_by(method: Method, lines: Sequence[tuple[str, list[str]]]) -> list[list[str]]:
    """Settings of each key that a method reads."""
    unread = _UNREAD[method] or ("\0",)
    return [
        [f"{key}={value}" for value in values]
        for key, values in lines
        if not key.startswith(unread)
    ]


def _lines(texts: Sequence[str], option: str) -> list[tuple[str, list[str]]]:
    lines = [_line(text, option) for text in texts]
    keys = [key for key, _ in lines]
    if len(set(keys)) < len(keys):
        raise InputError(
            f"A key has one {option}.",
            got=", ".join(keys),
            hint=f"give all its values in one: {option} KEY=1,3,10",
            expected="every key once",
        )
    return lines


def _line(text: str, option: str) -> tuple[str, list[str]]:
    key, equals, values = (part.strip() for part in text.partition("="))
    found = [value.strip() for value in re.split(r",(?![^\[{]*[\]}])", values)]
    if not equals or not all(found) or len(set(found)) < len(found):
        raise InputError(
            f"{option} takes a key of the recipe and its values, each once.",
            got=f"{option} {text}",
            expected=f"{option} SECTION.KEY=VALUE,VALUE",
            hint=f"type for instance {option} distillation.temperature=1,4",
        )
    if not key.startswith(_OPEN) or key.startswith(_FIXED):
        raise InputError(
            f"{option} changes how a student learns, and nothing else: students of one seed share "
            "images, teacher, weights to begin with and cost.",
            got=f"{option} {text}",
            expected="a key of distillation (but method and teacher_cache) or training.student",
            hint="name methods with --methods, and change all students alike with --set",
        )
    return key, found
