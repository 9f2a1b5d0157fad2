"""`thresholds.json` of a bundle: written whole, and checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from erde_cli.core.calibration.document import (
    FORMAT,
    BoundsDocument,
    CertificateDocument,
    EarlierDocument,
    FiguresDocument,
    PointDocument,
    TargetDocument,
    ThresholdsDocument,
)
from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.storage.json_files import (
    digest_of,
    not_what_erde_writes,
    read_json,
    require_format,
    write_json,
)

__all__ = [
    "THRESHOLDS",
    "BoundsDocument",
    "CertificateDocument",
    "EarlierDocument",
    "FiguresDocument",
    "PointDocument",
    "Stamp",
    "TargetDocument",
    "ThresholdsDocument",
    "check_document",
    "read_thresholds",
    "sealed",
    "thresholds_document",
    "thresholds_stamp",
    "write_thresholds",
    "written_thresholds",
]

THRESHOLDS = "thresholds.json"

Stamp = tuple[int, int, int]  # time of the last change in ns, size in bytes, inode


def thresholds_stamp(bundle: Path) -> Stamp | None:
    """Changes whenever a bundle's `thresholds.json` is written; None without the file."""
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
    """The thresholds in the file, for any weights; None if it is missing or cannot be read."""
    path = bundle / THRESHOLDS
    try:
        document = _read(path, "")
        check_document(document, path, len(document.exit_rates), "")
    except BundleError:
        return None
    return document


def check_document(document: ThresholdsDocument, path: Path, exits: int, hint: str) -> None:
    """Check that a calibration fits a number of exits and is unchanged since it was written.

    Raises:
        BundleError: it is not.
    """
    _check_lengths(document, path, exits, hint)
    if document.seal != _seal(document.model_dump()):
        void = ", so its guarantee is void" if document.certified else ""
        raise BundleError(
            f"{path} is damaged, or was changed after it was written{void}.",
            expected="what erde calibrate wrote",
            hint=f"{hint}; for thresholds of your own: --threshold",
        )


def thresholds_document(content: dict[str, Any]) -> ThresholdsDocument:
    """Validate and seal the content of a new `thresholds.json`."""
    return sealed(ThresholdsDocument.model_validate({**content, "format": FORMAT, "seal": ""}))


def sealed(document: ThresholdsDocument) -> ThresholdsDocument:
    """The same document with the digest of its content."""
    return document.model_copy(update={"seal": _seal(document.model_dump())})


def write_thresholds(bundle: Path, document: ThresholdsDocument) -> None:
    """Write `thresholds.json` into a bundle, whole or not at all."""
    write_json(bundle / THRESHOLDS, document.model_dump())


def _check_lengths(document: ThresholdsDocument, path: Path, exits: int, hint: str) -> None:
    """Check that every list has an entry for each exit, or each early one."""
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
            got="no frontier, or no image in the test half",
            hint=hint,
            expected="what erde calibrate writes",
        )


def _seal(content: dict[str, Any]) -> str:
    """Digest of all other keys."""
    return digest_of({name: value for name, value in content.items() if name != "seal"})


def _read(path: Path, hint: str) -> ThresholdsDocument:
    try:
        content = read_json(path)
    except InputError as error:
        raise BundleError(error.message, expected=error.expected, hint=hint) from error
    require_format(path, content, FORMAT, BundleError, hint)
    try:
        document = ThresholdsDocument.model_validate(content)
        _ = document.values
    except ValidationError as error:
        expected = "what erde calibrate writes"
        raise not_what_erde_writes(path, error, hint, expected=expected) from error
    except InputError as error:
        raise BundleError(
            f"{path} is not what erde writes.", got=error.got, expected=error.expected, hint=hint
        ) from error
    return document
