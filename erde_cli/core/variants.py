"""What students a comparison has: methods times a grid. Imports nothing heavy: errors come at once.

A key that a method does not read multiplies nothing: `kd` has no entropy term, and `cross_entropy`
no teacher, so that a grid over either trains them once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from erde_cli.core.errors import InputError

METHODS = ("erde", "kd", "cross_entropy")  # each is compared with those after it
_PREFIX = "distillation."
_OPEN = (_PREFIX, "training.student.")
_FIXED = ("distillation.method", "distillation.teacher_cache")
_UNREAD = {
    "erde": (),
    "kd": (
        "distillation.weights.entropy", "distillation.teacher_wrong", "distillation.entropy_on",
        "distillation.entropy_at_last_exit",
    ),
    "cross_entropy": (_PREFIX,),
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A student's method, and what it changes in the recipe: texts as `--set` takes them."""

    method: str
    settings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name of the student, and of its folder."""
        parts = [text.removeprefix(_PREFIX) for text in self.settings]
        return "+".join([self.method, *(re.sub(r"[^\w.=-]+", "_", part) for part in parts)])


def parse_methods(text: str) -> list[str]:
    """Read methods such as "erde,kd", in the order in which they are compared.

    Raises:
        InputError: one is unknown or named twice.
    """
    given = [part.strip() for part in text.split(",")]
    if len(set(given)) < len(given) or not set(given) <= set(METHODS):
        raise InputError(
            "Methods are named once each, with commas between them.",
            got=f"--methods {text}",
            expected=f"some of {','.join(METHODS)}",
        )
    return [method for method in METHODS if method in given]


def variants_of(methods: Sequence[str], grid: Sequence[str]) -> list[Variant]:
    """Every method with every combination of the grid's values, each once.

    Args:
        methods: from `parse_methods`.
        grid: texts `section.key=value,value`; commas inside brackets belong to a value.

    Raises:
        InputError: a text has no values, or its key would make the students incomparable.
    """
    lines = [_line(text) for text in grid]
    keys = [key for key, _ in lines]
    if len(set(keys)) < len(keys):
        raise InputError(
            "A key has one --grid.",
            got=", ".join(keys),
            hint="give all its values in one: --grid KEY=1,3,10",
        )
    found = []
    for method in methods:
        read = [line for line in lines if not line[0].startswith(_UNREAD[method] or ("\0",))]
        axes = [[f"{key}={value}" for value in values] for key, values in read]
        found += [Variant(method, settings) for settings in product(*axes)]
    return found


def _line(text: str) -> tuple[str, list[str]]:
    key, equals, values = (part.strip() for part in text.partition("="))
    found = [value.strip() for value in re.split(r",(?![^\[{]*[\]}])", values)]
    if not equals or not all(found) or len(set(found)) < len(found):
        raise InputError(
            "A grid is a key of the recipe and its values, each once.",
            got=f"--grid {text}",
            expected="--grid SECTION.KEY=VALUE,VALUE",
        )
    if not key.startswith(_OPEN) or key.startswith(_FIXED):
        raise InputError(
            "A grid changes how a student learns, and nothing else: students of one seed share "
            "images, teacher, weights to begin with and cost.",
            got=f"--grid {text}",
            expected="a key of distillation (but method and teacher_cache) or training.student",
            hint="name methods with --methods, and change all students alike with --set",
        )
    return key, found
