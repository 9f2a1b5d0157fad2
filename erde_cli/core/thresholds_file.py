"""`thresholds.json` of a bundle: what it holds, validated when written and when read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.files import read_json, write_json
from erde_cli.core.observations import Figures
from erde_cli.core.targets import Target
from erde_cli.core.thresholds import WrittenThreshold, read_threshold, write_threshold

THRESHOLDS = "thresholds.json"
FORMAT = 2
_ASIDE = ("risk", "confidence")

Share = Annotated[float, Field(ge=0, le=1)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FiguresDocument(_Document):
    """What thresholds give on a set of images; accuracies are null without labels."""

    accuracy: Share | None
    full_accuracy: Share | None
    agreement: Share | None
    expected_macs: float
    expected_latency: float | None
    exit_rates: list[Share]


class BoundsDocument(_Document):
    """Upper bounds of the risks, valid for all candidates of a chain together."""

    disagreement: Share
    accuracy_gap: Annotated[float, Field(ge=-1, le=1)] | None

    def of(self, risk: str | None) -> float | None:
        """Bound of one of the risks."""
        return self.accuracy_gap if risk == "accuracy-gap" else self.disagreement


class PointDocument(FiguresDocument):
    """Thresholds that can be picked later without images.

    held_out: null in a chain, whose figures come from images that chose nothing.
    """

    thresholds: list[WrittenThreshold]
    held_out: FiguresDocument | None
    certified: bool
    bounds: BoundsDocument | None


class CertificateDocument(_Document):
    """What is promised of the deployed thresholds, or why nothing is."""

    risk: Literal["disagreement", "accuracy-gap"]
    epsilon: float
    confidence: float
    images: int
    observed: float
    tested: int
    rejected: int
    least_images: int | None
    images_wanted: int | None
    statement: str


class LatencyDocument(_Document):
    """Measured ms of leaving at each exit, and on what."""

    ms: list[float]
    batch: int
    threads: int
    device: str


class ThresholdsDocument(FiguresDocument):
    """What `thresholds.json` holds; thresholds in nats, "never" is 0 and "always" infinite."""

    format: Literal[2]
    criterion: Literal["entropy"]
    unit: Literal["nats"]
    thresholds: list[WrittenThreshold]
    temperatures: list[Annotated[float, Field(gt=0)]] | None
    target: dict[str, WrittenThreshold | str]
    met: bool
    met_where_chosen: bool
    certified: bool
    source: Literal["calibration split", "labelled folder", "unlabelled folder"]
    split_fingerprint: str
    images: int
    precision: Literal["float32", "bfloat16"]
    weights_digest: str
    held_out: FiguresDocument
    exit_accuracy: list[Share] | None
    half_b_exits: list[int]
    latency: LatencyDocument | None
    frontier: list[PointDocument]
    certificate: CertificateDocument | None

    @property
    def values(self) -> list[float]:
        """Thresholds in nats; 0 never, inf always."""
        return [read_threshold(written) for written in self.thresholds]


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
    wanted = {
        "thresholds": (len(document.thresholds), exits - 1, "one for each early exit"),
        "temperatures": (len(document.temperatures or [1.0] * exits), exits, "one for each exit"),
    }
    for name, (count, expected, why) in wanted.items():
        if count != expected:
            raise BundleError(
                f"{path} has {count} {name}.", expected=f"{expected}, {why}", hint=hint
            )
    return document


def write_thresholds(bundle: Path, content: dict[str, Any]) -> ThresholdsDocument:
    """Write `thresholds.json` into a bundle, whole or not at all."""
    document = ThresholdsDocument.model_validate(
        {"format": FORMAT, "criterion": "entropy", "unit": "nats", **content}
    )
    write_json(bundle / THRESHOLDS, document.model_dump())
    return document


def target_to_json(target: Target, how: str = "searched") -> dict[str, Any]:
    """Written form of a target."""
    value = write_threshold(target.value) if target.kind == "threshold" else target.value
    aside = {name: getattr(target, name) for name in _ASIDE if getattr(target, name) is not None}
    return {"kind": target.kind, "value": value, "unit": target.unit, **aside, "how": how}


def figures_to_json(figures: Figures) -> dict[str, Any]:
    """Written form of figures."""
    return {**asdict(figures), "exit_rates": list(figures.exit_rates)}


def _read(path: Path, hint: str) -> ThresholdsDocument:
    try:
        content = read_json(path)
    except InputError as error:
        raise BundleError(error.message, expected=error.expected, hint=hint) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise BundleError(
            f"{path} has a format that this version of erde does not read.",
            got=f"format {found}",
            expected=f"format {FORMAT}",
            hint=hint,
        )
    try:
        document = ThresholdsDocument.model_validate(content)
        _ = document.values
    except (ValidationError, InputError) as error:
        raise BundleError(f"{path} is not what erde writes: {error}", hint=hint) from error
    return document
