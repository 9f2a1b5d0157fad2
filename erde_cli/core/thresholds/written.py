"""Written form of a threshold: a number, or "always" (θ = inf) and "never" (θ = 0)."""

from __future__ import annotations

import math
from typing import Literal

from erde_cli.core.errors import InputError

WrittenThreshold = float | Literal["always", "never"]


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
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if isinstance(written, bool) or not value >= 0 or math.isinf(value):
        raise InputError(
            "The threshold is not valid.",
            got=repr(written),
            expected='an entropy of at least 0 nats, "always" or "never"',
            hint="for example: --threshold 0.5",
        )
    return value
