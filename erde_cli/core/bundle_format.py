"""What the JSON files of a bundle hold, validated when they are written and when they are read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from erde_cli.core.thresholds import WrittenThreshold, read_threshold

FORMAT = 1


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Architecture(_Document):
    backbone: str
    depth: int = Field(ge=8, le=10_000)
    width: int = Field(ge=1, le=1024)
    cuts: list[int]
    head: str
    classes: int = Field(ge=2)
    image_size: int = Field(ge=8, le=1024)
    widening: int = Field(1, ge=1, le=64)
    stem: int | None = Field(None, ge=1, le=1024)
    dropout: float = Field(0, ge=0, lt=1)


class _Normalisation(_Document):
    mean: list[float] = Field(min_length=3, max_length=3)
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=3, max_length=3)


class _Input(_Document):
    channels: Literal[3] = 3
    height: int
    width: int
    resize: Literal["squash, bilinear with antialiasing"] = "squash, bilinear with antialiasing"


class BundleDocument(_Document):
    """What `bundle.json` holds."""

    format: Literal[1]
    role: Literal["teacher", "student"]
    architecture: _Architecture
    input: _Input
    normalisation: _Normalisation
    class_names: list[str] = Field(min_length=2)
    recipe: dict[str, Any]
    split_fingerprint: str
    inputs_digest: str
    weights_digest: str
    training: dict[str, Any]
    versions: dict[str, str]


class _Figures(_Document):
    accuracy: float
    full_accuracy: float
    expected_macs: float


class ThresholdsDocument(_Document):
    """What `thresholds.json` holds; thresholds in nats, "never" is 0 and "always" infinite."""

    format: Literal[1]
    criterion: Literal["entropy"]
    unit: Literal["nats"]
    thresholds: list[WrittenThreshold]
    target: dict[str, WrittenThreshold | str]
    met: bool
    split: Literal["calibration"]
    split_fingerprint: str
    images: int
    precision: Literal["float32", "bfloat16"]
    weights_digest: str
    accuracy: float
    full_accuracy: float
    expected_macs: float
    exit_rates: list[float]
    held_out: _Figures

    @property
    def values(self) -> list[float]:
        """Thresholds in nats; 0 never, inf always."""
        return [read_threshold(written) for written in self.thresholds]
