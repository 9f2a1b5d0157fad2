"""The exit rule under the thresholds of a calibration, or under given ones."""

from __future__ import annotations

from erde_cli.core.calibration.document import ThresholdsDocument
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.thresholds.written import Thresholds, for_each_exit, read_thresholds


def rule_of(
    document: ThresholdsDocument | None, thresholds: Thresholds | None, exit_count: int
) -> ExitRule:
    """Exit rule under given thresholds, or under those of a calibration.

    Args:
        document: the calibration; its score, temperatures and precision always apply.
        thresholds: θ, "always" or "never": one for all early exits, or one for each, also in one
            text ("0.3,never"). None: those of the calibration.
        exit_count: of the network, the last exit included.

    Raises:
        InputError: a threshold is invalid, or there are too few or too many.
        ValueError: both `document` and `thresholds` are None.
    """
    if thresholds is None:
        if document is None:
            raise ValueError("neither a calibration nor a threshold")
        values = tuple(document.values)
    else:
        values = for_each_exit(read_thresholds(thresholds), exit_count - 1)
    if document is None:
        return ExitRule(values)
    temperatures = None if document.temperatures is None else tuple(document.temperatures)
    return ExitRule(values, temperatures, document.precision, document.score)
