"""The exit rule under the thresholds of a calibration, or under given ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

from erde_cli.core.calibration.document import ThresholdsDocument
from erde_cli.core.errors import InputError
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.thresholds.written import read_threshold

Thresholds = float | str | Sequence[float | str]


def rule_of(
    document: ThresholdsDocument | None, thresholds: Thresholds | None, exit_count: int
) -> ExitRule:
    """Exit rule under given thresholds, or under those of a calibration.

    Args:
        document: the calibration; its score, temperatures and precision always apply.
        thresholds: θ, "always" or "never": one for all early exits, or one for each. None: those
            of the calibration.
        exit_count: of the network, the last exit included.

    Raises:
        InputError: a threshold is invalid, or there are too few or too many.
        ValueError: both `document` and `thresholds` are None.
    """
    if thresholds is None:
        if document is None:
            raise ValueError("neither a calibration nor a threshold")
        values = tuple(document.values)
    elif isinstance(thresholds, Sequence) and not isinstance(thresholds, str):
        values = tuple(_theta(one) for one in thresholds)
    else:
        values = (_theta(thresholds),) * (exit_count - 1)
    if len(values) != exit_count - 1:
        raise InputError(
            "The number of thresholds does not match the early exits.",
            got=str(len(values)),
            expected=f"{exit_count - 1}, or a single one for all",
            hint="give one for all early exits, or one for each",
        )
    if document is None:
        return ExitRule(values)
    temperatures = None if document.temperatures is None else tuple(document.temperatures)
    return ExitRule(values, temperatures, document.precision, document.score)


def _theta(value: float | str) -> float:
    return math.inf if value == math.inf else read_threshold(value)
