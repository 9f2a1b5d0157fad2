"""What thresholds are chosen for. Imports nothing heavy: a wrong target is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn

from erde_cli.core.errors import InputError
from erde_cli.core.thresholds import read_threshold

TargetKind = Literal["threshold", "max_drop", "min_accuracy", "max_macs", "max_latency", "max_risk"]
Risk = Literal["disagreement", "accuracy-gap"]
Metric = Literal["accuracy", "balanced_accuracy"]

CONFIDENCE = 0.9  # of --max-risk, where none is given


@dataclass(frozen=True)
class _Kind:
    option: str
    metavar: str
    unit: str
    low: float
    high: float
    low_included: bool
    high_included: bool
    bounds: str
    has_metric: bool = True

    def holds(self, value: float) -> bool:
        above = self.low <= value if self.low_included else self.low < value
        below = value <= self.high if self.high_included else value < self.high
        return above and below


_KINDS = {
    "threshold": _Kind("--threshold", "NATS", "nats", 0, float("inf"), True, True, "", False),
    "max_drop": _Kind(
        "--max-drop", "POINTS", "points", 0, 100, True, True, "accuracy points from 0 to 100"
    ),
    "min_accuracy": _Kind(
        "--min-accuracy", "SHARE", "share of right answers", 0, 1, False, True,
        "a share of right answers, above 0 and at most 1; 0.85 is 85 %",
    ),
    "max_macs": _Kind(
        "--max-macs", "RATIO", "share of full MACs", 0, 1, False, True,
        "a share of the full MACs, above 0 and at most 1",
    ),
    "max_latency": _Kind(
        "--max-latency", "MS", "ms", 0, float("inf"), False, False,
        "milliseconds per image, above 0",
    ),
    "max_risk": _Kind(
        "--max-risk", "EPS", "share of images", 0, 1, False, False,
        "a share of images, above 0 and below 1; 0.05 is 5 %", False,
    ),
}  # fmt: skip

_EXAMPLES = {
    "--max-drop": "1", "--min-accuracy": "0.85", "--max-macs": "0.5", "--max-latency": "5",
    "--max-risk": "0.05", "--risk": "disagreement", "--confidence": "0.9",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """What the thresholds are chosen for, `value` in `unit`; `max_risk` has a risk as well.

    metric: what is kept or maximised, where its kind has one.
    """

    kind: TargetKind
    value: float
    risk: Risk | None = None
    confidence: float | None = None
    metric: Metric = "accuracy"

    @property
    def unit(self) -> str:
        """Unit of `value`."""
        return _KINDS[self.kind].unit

    @property
    def option(self) -> str:
        """The option of `erde calibrate` that names it."""
        return _KINDS[self.kind].option


def has_metric(kind: object) -> bool:
    """Whether a kind of target keeps or maximises accuracy of some kind."""
    return isinstance(kind, str) and kind in _KINDS and _KINDS[kind].has_metric


def one_target(
    *,
    threshold: float | str | None = None,
    max_drop: float | None = None,
    min_accuracy: float | None = None,
    max_macs: float | None = None,
    max_latency: float | None = None,
    max_risk: float | None = None,
    risk: Risk | None = None,
    confidence: float | None = None,
    metric: Metric | None = None,
) -> Target:
    """Make a target from the one argument that is given.

    Args:
        threshold: nats, "always" or "never".
        max_drop: points of the metric, 0 to 100.
        min_accuracy: share of right answers, or mean share over the classes, above 0, at most 1.
        max_macs: share of the full MACs, above 0 and at most 1.
        max_latency: milliseconds per image.
        max_risk: share of images, above 0 and below 1.
        risk: which risk `max_risk` bounds; "disagreement" where it is left out.
        confidence: of `max_risk`, from 0.5 to below 1; 0.9 where it is left out.
        metric: what is kept or maximised; "accuracy" where it is left out.

    Raises:
        InputError: none or several are given, or a value is out of its bounds, or the target has
            no metric and another than accuracy is named.
    """
    values = {
        "threshold": threshold, "max_drop": max_drop, "min_accuracy": min_accuracy,
        "max_macs": max_macs, "max_latency": max_latency, "max_risk": max_risk,
    }  # fmt: skip
    given = {kind: value for kind, value in values.items() if value is not None}
    _check_of_risk(max_risk, risk, confidence)
    if len(given) != 1:
        forms = [f"{kind.option} {kind.metavar}" for kind in _KINDS.values()]
        raise InputError(
            "Calibration needs exactly one target.",
            got=" and ".join(_KINDS[kind].option for kind in given) or "none",
            expected=f"{', '.join(forms[:-1])}, or {forms[-1]}",
            hint="start with --max-drop 1",
        )
    ((kind, value),) = given.items()
    _check_metric(kind, metric)
    if threshold is not None:
        return Target("threshold", read_threshold(threshold))
    number = _within(kind, value)
    if max_risk is None:
        return Target(kind, number, metric=metric or "accuracy")  # type: ignore[arg-type]
    level = CONFIDENCE if confidence is None else confidence
    return Target("max_risk", number, risk or "disagreement", level)


def parse_pick(text: str) -> Target:
    """Target of `--pick`, for instance "max-macs=0.4".

    Raises:
        InputError: it is not a name and a value, or the value is out of its bounds.
    """
    name, equals, written = text.partition("=")
    kind = name.strip().replace("-", "_")
    pickable = [one for one in _KINDS if one != "threshold"]
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
    return Target(kind, _within(kind, value))  # type: ignore[arg-type]


def refuse_beside_pick(others: Mapping[str, object]) -> None:
    """See that nothing is named beside `--pick`, by the name of its option.

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


def _within(kind: str, value: float | str) -> float:
    rules = _KINDS[kind]
    if isinstance(value, str) or not rules.holds(value):
        _refuse(rules.option, value, rules.bounds)
    return value


def _check_of_risk(max_risk: float | None, risk: Risk | None, confidence: float | None) -> None:
    for option, value in (("--risk", risk), ("--confidence", confidence)):
        if value is not None and max_risk is None:
            raise InputError(
                f"{option} belongs to --max-risk.",
                got=f"{option} {value} without --max-risk",
                expected="--max-risk EPS beside it",
                hint="type for instance --max-risk 0.05 --risk disagreement --confidence 0.9",
            )
    if risk is not None and risk not in ("disagreement", "accuracy-gap"):
        _refuse("--risk", risk, "disagreement or accuracy-gap")
    if confidence is not None and not 0.5 <= confidence < 1:
        _refuse("--confidence", confidence, "a probability from 0.5 to below 1")


def _check_metric(kind: str, metric: Metric | None) -> None:
    if metric == "balanced_accuracy" and not _KINDS[kind].has_metric:
        *others, last = [one.option for one in _KINDS.values() if one.has_metric]
        raise InputError(
            f"{_KINDS[kind].option} has no metric.",
            got=f"{_KINDS[kind].option} with --metric {metric}",
            expected=f"--metric with {', '.join(others)} or {last}",
            hint="leave --metric out, or type for instance --max-drop 1 --metric balanced_accuracy",
        )


def _refuse(option: str, value: object, expected: str) -> NoReturn:
    raise InputError(
        f"{option} is out of bounds.",
        got=str(value),
        expected=expected,
        hint=f"type for instance {option} {_EXAMPLES[option]}",
    )
