"""What `bundle.json` holds, validated when it is written and when it is read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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
