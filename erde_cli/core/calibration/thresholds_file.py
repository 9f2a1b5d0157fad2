"""`thresholds.json` of a bundle: written whole, and checked when it is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from erde_cli.core.calibration.document import (
    BEFORE,
    FORMAT,
    BoundsDocument,
    CertificateDocument,
    EarlierDocument,
    FiguresDocument,
    PointDocument,
    ThresholdsDocument,
)
from erde_cli.core.errors import BundleError, InputError, first_reason
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.inference.observations import Figures
from erde_cli.core.storage.json_files import digest_of, read_json, require_format, write_json
from erde_cli.core.targets import Target, has_metric
from erde_cli.core.thresholds import read_threshold, write_threshold

Thresholds = float | str | Sequence[float | str]

__all__ = [
    "THRESHOLDS",
    "BoundsDocument",
    "CertificateDocument",
    "EarlierDocument",
    "FiguresDocument",
    "PointDocument",
    "Stamp",
    "ThresholdsDocument",
    "check_document",
    "figures_to_json",
    "read_thresholds",
    "target_to_json",
    "thresholds_document",
    "thresholds_stamp",
    "write_thresholds",
    "written_thresholds",
]

THRESHOLDS = "thresholds.json"
_ASIDE = ("risk", "confidence")

Stamp = tuple[int, int, int]  # changes when the file is written again


def thresholds_stamp(bundle: Path) -> Stamp | None:
    """What tells one state of a bundle's `thresholds.json` from the next; None without any."""
    try:
        status = (bundle / THRESHOLDS).stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_thresholds(bundle: Path, weights_digest: str, exits: int) -> ThresholdsDocument:
    """Read the thresholds of a bundle that has been calibrated.

    Raises:
        BundleError: they belong to other weights, or are not what erde writes.
    """
    path = bundle / THRESHOLDS
    hint = f"choose them again with: erde calibrate {bundle} --max-drop 1"
    document = _read(path, hint)
    if document.weights_digest != weights_digest:
        raise BundleError(
            f"{path} belongs to other weights.",
            got=document.weights_digest[:12],
            expected=weights_digest[:12],
            hint=hint,
        )
    check_document(document, path, exits, hint)
    return document


def written_thresholds(bundle: Path) -> ThresholdsDocument | None:
    """Thresholds as they were written, of whatever weights; None where there are none to read."""
    path = bundle / THRESHOLDS
    try:
        document = _read(path, "")
        check_document(document, path, len(document.exit_rates), "")
    except BundleError:
        return None
    return document


def check_document(document: ThresholdsDocument, path: Path, exits: int, hint: str) -> None:
    """See that a calibration fits a number of exits, and is the one that was written.

    Raises:
        BundleError: it does not, or it is not.
    """
    _check_lengths(document, path, exits, hint)
    if document.seal != _seal(document.model_dump()):
        void = ", so its promise is void" if document.certified else ""
        raise BundleError(
            f"{path} is damaged, or was changed after it was written{void}.",
            expected="what erde calibrate wrote",
            hint=f"{hint}; for thresholds of your own: --threshold",
        )


def thresholds_document(content: dict[str, Any]) -> ThresholdsDocument:
    """What `thresholds.json` is to hold, validated and sealed."""
    always = {"format": FORMAT, "criterion": "entropy", "unit": "nats"}
    whole = {**content, **always, "seal": ""}
    whole = ThresholdsDocument.model_validate(whole).model_dump()
    return ThresholdsDocument.model_validate({**whole, "seal": _seal(whole)})


def write_thresholds(bundle: Path, document: ThresholdsDocument) -> None:
    """Write `thresholds.json` into a bundle, whole or not at all."""
    write_json(bundle / THRESHOLDS, document.model_dump())


def target_to_json(target: Target, how: str = "searched") -> dict[str, Any]:
    """Written form of a target."""
    value = write_threshold(target.value) if target.kind == "threshold" else target.value
    aside = {name: getattr(target, name) for name in _ASIDE if getattr(target, name) is not None}
    if has_metric(target.kind):
        aside["metric"] = target.metric
    return {"kind": target.kind, "value": value, "unit": target.unit, **aside, "how": how}


def figures_to_json(figures: Figures) -> dict[str, Any]:
    """Written form of figures."""
    return {**asdict(figures), "exit_rates": list(figures.exit_rates)}


def _check_lengths(document: ThresholdsDocument, path: Path, exits: int, hint: str) -> None:
    """See that every list has an entry for each exit, or each early one."""
    points = document.frontier
    per_exit = {
        "temperatures": document.temperatures,
        "exit_rates": document.exit_rates,
        "held_out.exit_rates": document.held_out.exit_rates,
        "exit_accuracy": document.exit_accuracy,
        "exit_balanced_accuracy": document.exit_balanced_accuracy,
        "half_b_exits": document.half_b_exits,
        "latency.ms": document.latency.ms if document.latency else None,
        **{f"frontier.{i}.exit_rates": point.exit_rates for i, point in enumerate(points)},
        **{f"frontier.{i}.half_b_exits": point.half_b_exits for i, point in enumerate(points)},
    }
    early = {
        "thresholds": document.thresholds,
        **{f"frontier.{i}.thresholds": point.thresholds for i, point in enumerate(points)},
    }
    for lists, expected in ((per_exit, exits), (early, exits - 1)):
        for name, values in lists.items():
            if values is not None and len(values) != expected:
                raise BundleError(
                    f"{path} has {len(values)} {name}.", expected=str(expected), hint=hint
                )
    if not points or sum(document.half_b_exits) <= 0:
        raise BundleError(
            f"{path} is not what erde writes.",
            got="no frontier, or no image in half B",
            hint=hint,
            expected="what erde calibrate writes",
        )


def _seal(content: dict[str, Any]) -> str:
    """Digest of all the rest."""
    return digest_of({name: value for name, value in content.items() if name != "seal"})


def _read(path: Path, hint: str) -> ThresholdsDocument:
    try:
        content = read_json(path)
    except InputError as error:
        raise BundleError(error.message, expected=error.expected, hint=hint) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != BEFORE:
        require_format(path, found, FORMAT, BundleError, hint)
    try:
        document = ThresholdsDocument.model_validate(content)
        _ = document.values
    except ValidationError as error:
        raise BundleError(
            f"{path} is not what erde writes.",
            got=first_reason(error),
            hint=hint,
            expected="what erde calibrate writes",
        ) from error
    except InputError as error:
        raise BundleError(
            f"{path} is not what erde writes.", got=error.got, expected=error.expected, hint=hint
        ) from error
    return document


def rule_of(
    document: ThresholdsDocument | None, thresholds: Thresholds | None, exit_count: int
) -> ExitRule:
    """Rule under thresholds that are given, or under those of a calibration.

    Temperatures and precision are the calibration's in any case, if there was one.

    Args:
        document: what the calibration wrote.
        thresholds: θ in nats, "always" or "never": one for all early exits, or one for each.
        exit_count: of the network, the last exit included.

    Raises:
        InputError: a threshold is none, or there are too few or too many.
        ValueError: there is neither a calibration nor a threshold.
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
            "There must be one threshold for each early exit.",
            got=str(len(values)),
            expected=f"{exit_count - 1}, or a single one for all",
            hint="give one for all early exits, or one for each",
        )
    if document is None:
        return ExitRule(values)
    temperatures = document.temperatures
    return ExitRule(
        values, None if temperatures is None else tuple(temperatures), document.precision
    )


def _theta(value: float | str) -> float:
    return math.inf if value == math.inf else read_threshold(value)
