"""What thresholds are chosen for. Imports nothing heavy: a wrong target is told at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NoReturn

from erde_cli.core.errors import InputError
from erde_cli.core.thresholds import read_threshold

TargetKind = Literal["threshold", "max_drop", "max_macs"]

_UNITS = {"threshold": "nats", "max_drop": "points", "max_macs": "share of full MACs"}
_OPTIONS = {"threshold": "--threshold", "max_drop": "--max-drop", "max_macs": "--max-macs"}


@dataclass(frozen=True)
class Target:
    """What the thresholds are chosen for; `value` in nats, points, or share of the full MACs."""

    kind: TargetKind
    value: float

    @property
    def unit(self) -> str:
        """Unit of `value`."""
        return _UNITS[self.kind]


def one_target(
    *,
    threshold: float | str | None = None,
    max_drop: float | None = None,
    max_macs: float | None = None,
) -> Target:
    """Make a target from the one argument that is given.

    Args:
        threshold: nats, "always" or "never".
        max_drop: accuracy points, 0 to 100.
        max_macs: share of the full MACs, above 0 and at most 1.

    Raises:
        InputError: none or several are given, or the value is out of its bounds.
    """
    values = {"threshold": threshold, "max_drop": max_drop, "max_macs": max_macs}
    given = {kind: value for kind, value in values.items() if value is not None}
    if len(given) != 1:
        raise InputError(
            "Calibration needs exactly one target.",
            got=" and ".join(_OPTIONS[kind] for kind in given) or "none",
            expected="--threshold NATS, --max-drop POINTS, or --max-macs RATIO",
            hint="start with --max-drop 1",
        )
    if threshold is not None:
        return Target("threshold", read_threshold(threshold))
    if max_drop is not None:
        if not 0 <= max_drop <= 100:
            _refuse("max_drop", max_drop, "accuracy points from 0 to 100")
        return Target("max_drop", max_drop)
    if max_macs is None or not 0 < max_macs <= 1:
        _refuse("max_macs", max_macs, "a share of the full MACs, above 0 and at most 1")
    return Target("max_macs", max_macs)


def _refuse(kind: str, value: object, expected: str) -> NoReturn:
    raise InputError(f"{_OPTIONS[kind]} is out of bounds.", got=str(value), expected=expected)
