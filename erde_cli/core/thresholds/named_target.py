"""The one target that a user names, from options, a recipe or `--pick`; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping

from erde_cli.core.errors import InputError
from erde_cli.core.thresholds.target import Metric, Risk, Target, refuse
from erde_cli.core.thresholds.targets import TARGETS, MaxRisk, Threshold, make_target


def one_target(
    values: Mapping[str, float | str | None],
    *,
    risk: Risk | None = None,
    confidence: float | None = None,
    metric: Metric | None = None,
) -> Target:
    """Make a target from the one value that is given.

    Args:
        values: by kind, each in its unit; of a threshold also "always" or "never". None: not given.
        risk: which risk `max_risk` bounds; "disagreement" where it is left out.
        confidence: of `max_risk`, from 0.5 to below 1; 0.9 where it is left out.
        metric: what is kept or maximised; "accuracy" where it is left out.

    Raises:
        InputError: none or several are given, or a value is out of its bounds, or the target has
            no metric and another than accuracy is named.
    """
    given = {kind: value for kind, value in values.items() if value is not None}
    _check_of_risk(MaxRisk.kind in given, risk, confidence)
    if len(given) != 1:
        forms = [f"{one.option} {one.metavar}" for one in TARGETS.values()]
        raise InputError(
            "Calibration needs exactly one target.",
            got=" and ".join(TARGETS[kind].option for kind in given) or "none",
            expected=f"{', '.join(forms[:-1])}, or {forms[-1]}",
            hint="start with --max-drop 1",
        )
    ((kind, value),) = given.items()
    _check_metric(TARGETS[kind], metric)
    number = TARGETS[kind].checked(value)
    return make_target(kind, number, risk=risk, confidence=confidence, metric=metric)


def parse_pick(text: str) -> Target:
    """Target of `--pick`, for instance "max-macs=0.4".

    Raises:
        InputError: it is not a name and a value, or the value is out of its bounds.
    """
    name, equals, written = text.partition("=")
    kind = name.strip().replace("-", "_")
    pickable = [one for one in TARGETS if one != Threshold.kind]
    try:
        value = float(written)
    except ValueError:
        value = None
    if not equals or kind not in pickable or value is None:
        names = ", ".join(one.replace("_", "-") for one in pickable)
        raise InputError(
            "--pick is not understood.",
            got=repr(text),
            expected=f"NAME=VALUE with a name out of {names}",
            hint="type for instance --pick max-macs=0.4",
        )
    return make_target(kind, TARGETS[kind].checked(value))


def refuse_with_pick(others: Mapping[str, object]) -> None:
    """Check that nothing is named next to `--pick`, by the name of its option.

    Raises:
        InputError: something is.
    """
    given = [name for name, value in others.items() if value is not None]
    if given:
        options = ", ".join("--" + name.replace("_", "-") for name in given)
        raise InputError(
            "--pick chooses among what the last calibration stored, and reads no image.",
            got=f"--pick and {options}",
            expected="--pick NAME=VALUE alone",
            hint="leave the others out, or leave --pick out to calibrate again",
        )


def _check_of_risk(is_risk: bool, risk: Risk | None, confidence: float | None) -> None:
    for option, value in (("--risk", risk), ("--confidence", confidence)):
        if value is not None and not is_risk:
            raise InputError(
                f"{option} belongs to --max-risk.",
                got=f"{option} {value} without --max-risk",
                expected="--max-risk EPS beside it",
                hint="type for instance --max-risk 0.05 --risk disagreement --confidence 0.9",
            )
    if risk is not None and risk not in ("disagreement", "accuracy-gap"):
        refuse("--risk", risk, "disagreement or accuracy-gap", "disagreement")
    if confidence is not None and not 0.5 <= confidence < 1:
        refuse("--confidence", confidence, "a probability from 0.5 to below 1", "0.9")


def _check_metric(target: type[Target], metric: Metric | None) -> None:
    if metric == "balanced_accuracy" and not target.has_metric:
        *others, last = [one.option for one in TARGETS.values() if one.has_metric]
        raise InputError(
            f"{target.option} has no metric.",
            got=f"{target.option} with --metric {metric}",
            expected=f"--metric with {', '.join(others)} or {last}",
            hint="leave --metric out, or type for instance --max-drop 1 --metric balanced_accuracy",
        )
