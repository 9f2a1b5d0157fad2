"""Read the target from options, a recipe or `--pick`. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from erde_cli.core.errors import InputError
from erde_cli.core.thresholds.target import Metric, Risk, Target, refuse
from erde_cli.core.thresholds.targets import TARGETS, MaxRisk, Threshold, make_target
from erde_cli.core.thresholds.written import read_thresholds


def one_target(
    values: Mapping[str, float | str | None],
    *,
    risk: Risk | None = None,
    confidence: float | None = None,
    metric: Metric | None = None,
) -> Target:
    """Make the target from the one value that is set.

    Args:
        values: value or None of each kind, in its unit; a threshold can be "always" or "never", or
            one for each early exit, separated by commas.
        risk: risk that `max_risk` bounds; None: "disagreement".
        confidence: of `max_risk`, from 0.5 to below 1; None: 0.9.
        metric: accuracy that is kept or maximised; None: "accuracy".

    Raises:
        InputError: no value or several values are set, a value is out of bounds, or the target does
            not support the metric.
    """
    given = {kind: value for kind, value in values.items() if value is not None}
    _check_of_risk(MaxRisk.kind in given, risk, confidence)
    if len(given) != 1:
        forms = [f"{target.option} {target.metavar}" for target in TARGETS.values()]
        raise InputError(
            "Calibration needs exactly one target.",
            got=" and ".join(TARGETS[kind].option for kind in given) or "none",
            expected=f"{', '.join(forms[:-1])}, or {forms[-1]}",
            hint="for example: --max-drop 1",
        )
    ((kind, value),) = given.items()
    _check_metric(TARGETS[kind], metric)
    if kind == Threshold.kind and isinstance(value, str):
        return Threshold.of(read_thresholds(value))
    number = TARGETS[kind].check(value)
    return make_target(kind, number, risk=risk, confidence=confidence, metric=metric)


def parse_pick(text: str) -> Target:
    """Read the target of `--pick`, such as "max-macs=0.4".

    Raises:
        InputError: the text is not NAME=VALUE, or the value is out of bounds.
    """
    name, equals, written = text.partition("=")
    kind = name.strip().replace("-", "_")
    kinds = [name for name in TARGETS if name != Threshold.kind]
    try:
        value = float(written)
    except ValueError:
        value = None
    if not equals or kind not in kinds or value is None:
        names = ", ".join(name.replace("_", "-") for name in kinds)
        raise InputError(
            "The value of --pick is not valid.",
            got=repr(text),
            expected=f"NAME=VALUE, where NAME is one of {names}",
            hint="for example: --pick max-macs=0.4",
        )
    return make_target(kind, TARGETS[kind].check(value))


def refuse_with_pick(others: Mapping[str, object]) -> None:
    """Check that no other option is set with `--pick`; `others` has values by option name.

    Raises:
        InputError: another option is set.
    """
    given = [name for name, value in others.items() if value is not None]
    if given:
        options = ", ".join("--" + name.replace("_", "-") for name in given)
        raise InputError(
            "--pick chooses among the stored points of the last calibration and reads no images.",
            got=f"--pick and {options}",
            expected="--pick NAME=VALUE without these options",
            hint=f"omit {options}, or omit --pick to calibrate again",
        )


def _check_of_risk(is_risk: bool, risk: Risk | None, confidence: float | None) -> None:
    for option, value in (("--risk", risk), ("--confidence", confidence)):
        if value is not None and not is_risk:
            raise InputError(
                f"{option} requires --max-risk.",
                got=f"{option} {value} without --max-risk",
                expected=f"{option} together with --max-risk EPS",
                hint="for example: --max-risk 0.05 --risk disagreement --confidence 0.9",
            )
    if risk is not None and risk not in get_args(Risk):
        refuse("--risk", risk, " or ".join(get_args(Risk)), "disagreement")
    if confidence is not None and not 0.5 <= confidence < 1:
        refuse("--confidence", confidence, "a probability from 0.5 to below 1", "0.9")


def _check_metric(target: type[Target], metric: Metric | None) -> None:
    if metric == "balanced_accuracy" and not target.has_metric:
        *others, last = [kind.option for kind in TARGETS.values() if kind.has_metric]
        raise InputError(
            f"{target.option} does not support --metric.",
            got=f"{target.option} with --metric {metric}",
            expected=f"--metric with {', '.join(others)} or {last}",
            hint="omit --metric, or for example: --max-drop 1 --metric balanced_accuracy",
        )
