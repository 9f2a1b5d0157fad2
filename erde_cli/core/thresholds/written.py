"""Written form of a threshold: a number, or "always" (θ = inf) and "never" (θ = 0)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from erde_cli.core.errors import InputError

WrittenThreshold = float | Literal["always", "never"]
Thresholds = float | str | Sequence[float | str]  # one for all early exits, or one for each


def write_threshold(value: float) -> WrittenThreshold:
    """Written form of a threshold in nats, for JSON."""
    if value == 0:
        return "never"
    return "always" if math.isinf(value) else value


def read_threshold(written: object) -> float:
    """Threshold in nats from its written form.

    Raises:
        InputError: it is not "always", "never" or a finite number of at least 0.
    """
    forms = {"always": math.inf, "never": 0.0}
    if isinstance(written, str) and written in forms:
        return forms[written]
    try:
        value = float(written)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        value = math.nan
    if isinstance(written, bool) or not value >= 0 or math.isinf(value):
        raise InputError(
            "The threshold is not valid.",
            got=repr(written),
            expected='an entropy of at least 0 nats, "always" or "never"',
            hint="for example: --threshold 0.5",
        )
    return value


def read_thresholds(written: object) -> float | tuple[float, ...]:
    """Threshold in nats for all early exits, or one for each.

    Args:
        written: one in its written form; or several, as a sequence or a text such as "0.3,never".

    Raises:
        InputError: one of them is not valid.
    """
    if isinstance(written, str) and "," in written:
        written = [part.strip() for part in written.split(",")]
    if isinstance(written, Sequence) and not isinstance(written, str):
        return tuple(_given(one) for one in written)
    return _given(written)


def for_each_exit(thresholds: float | Sequence[float], early: int) -> tuple[float, ...]:
    """One threshold in nats for each of `early` exits.

    Raises:
        InputError: there are too few or too many.
    """
    if not isinstance(thresholds, Sequence):
        return (thresholds,) * early
    if len(thresholds) != early:
        example = ",".join(["0.5"] * early) or "0.5"
        raise InputError(
            "The number of thresholds does not match the early exits.",
            got=str(len(thresholds)),
            expected=f"{early}, one for each early exit, or a single one for all",
            hint=f"for example: --threshold {example}",
        )
    return tuple(thresholds)


def _given(value: object) -> float:
    with suppress(ValueError, RuntimeError):  # arrays and tensors are neither true nor false
        if value == math.inf:
            return math.inf
    return read_threshold(value)
