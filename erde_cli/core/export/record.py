"""Metadata of an exported network.

The record is stored in the metadata of an ONNX file (one entry per field, as JSON), in the manifest
of a folder of stages, and in `erde.json` inside a `.pt2` file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from erde_cli.core.arrays import Array, Float32Array, ImageArray
from erde_cli.core.bundle.document import PixelsDocument
from erde_cli.core.calibration.document import ThresholdsDocument
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.errors import STAGES_AGAIN, BundleError, InputError, first_reason
from erde_cli.core.export.check_vector import CheckVector
from erde_cli.core.export.input_record import InputRecord, Resizer
from erde_cli.core.images.class_names import ClassNames
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.runner.manifest import DIGEST, FILE, MANIFEST
from erde_cli.core.runner.metadata import PREFIX, normalised, parse_entries
from erde_cli.core.storage.files import digest_of_file
from erde_cli.core.storage.json_files import read_json, write_json
from erde_cli.core.thresholds.scores import Score

FORMAT = 2  # 1: without `input` and `test`


class NormalisationRecord(BaseModel):
    """Mean and standard deviation of each channel, for pixel values from 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: list[float] = Field(min_length=3, max_length=3)
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=3, max_length=3)


class ExportRecord(BaseModel):
    """Metadata of an exported network.

    pixels: how files are decoded to its images, uint8 [batch, height, width, 3].
    preprocessing: whether it normalises them itself.
    cumulative_macs: MACs of leaving at each exit.
    calibration: content of `thresholds.json`.
    static_exit: exit of a static network without early heads, from 0; None: all exits.
    portable: whether it takes float32 [batch, 3, height, width] from 0 to 1, and returns logits.
    input: the same facts about pixels for clients, in one place; None in format 1.
    test: an image and its answers; None: the export was made without it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1, 2]
    class_names: ClassNames
    image_size: int = Field(ge=8, le=1024)
    pixels: PixelsDocument
    preprocessing: bool
    normalisation: NormalisationRecord
    weights_digest: str
    cumulative_macs: list[Annotated[int, Field(gt=0, lt=2**63)]]
    calibration: ThresholdsDocument
    versions: dict[str, str]
    static_exit: Annotated[int, Field(ge=0)] | None = None
    portable: bool = False
    input: InputRecord | None = None
    test: CheckVector | None = None

    @model_validator(mode="after")
    def _input_agrees(self) -> Self:
        if (self.input is None) != (self.format == 1):
            raise ValueError("input: required in format 2, unknown in format 1")
        if self.input is not None and self.input != self.derived_input(self.input.resized_by):
            raise ValueError("input: differs from image_size, pixels or normalisation")
        answers_pixels = self.preprocessing and not self.returns_logits
        if self.input is not None and self.input.only_runtime and not answers_pixels:
            raise ValueError("input: a graph that resizes has preprocessing and returns no logits")
        return self

    @model_validator(mode="after")
    def _test_fits(self) -> Self:
        if self.test is None:
            return self
        if [one.exit for one in self.test.exits] != list(self.answering_exits):
            raise ValueError("test: an exit is missing, repeated or unknown")
        if any(one.label >= len(self.class_names) for one in self.test.exits):
            raise ValueError("test: a label that the network does not have")
        return self

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        exits, temperatures = self.exit_count, self.temperatures
        if len(self.calibration.thresholds) != exits - 1:
            raise ValueError(f"calibration.thresholds: {exits - 1} expected")
        if temperatures is not None and len(temperatures) != exits:
            raise ValueError(f"calibration.temperatures: {exits} expected")
        if len(self.cumulative_macs) != exits:
            raise ValueError(f"cumulative_macs: {exits} expected")
        if self.static_exit is not None and self.static_exit >= exits:
            raise ValueError(f"static_exit: less than {exits} expected")
        return self

    def derived_input(self, resized_by: Resizer = "client") -> InputRecord:
        """Description of the input, from the other fields."""
        normalisation = None if self.preprocessing else self.measured_normalisation
        if self.portable:  # the client divides by 255, and the graph does the rest
            normalisation = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        return InputRecord.of(self.image_size, self.pixels, normalisation, resized_by)

    def with_input(self, resized_by: Resizer = "client") -> ExportRecord:
        """The same record in the newest format, with the description of the input."""
        changed = {"format": FORMAT, "input": self.derived_input(resized_by)}
        return self.model_copy(update=changed)

    @property
    def described_input(self) -> InputRecord:
        """Description of the input, in every format."""
        return self.input or self.derived_input()

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return len(self.calibration.exit_rates)

    @property
    def answering_exits(self) -> Sequence[int]:
        """Exits that the graph contains, from 0."""
        return range(self.exit_count) if self.static_exit is None else [self.static_exit]

    @property
    def returns_logits(self) -> bool:
        """Whether it returns logits, which converters take and erde only verifies."""
        return self.portable or self.static_exit is not None

    @property
    def rules(self) -> PixelRules:
        """How files are decoded to its images."""
        return self.pixels.rules

    @property
    def score(self) -> Score:
        """The score that is compared with the thresholds."""
        return self.calibration.score

    @property
    def thresholds(self) -> list[float]:
        """θ of the early exits in the score's unit; 0 never, inf always."""
        return self.calibration.values

    @property
    def temperatures(self) -> list[float] | None:
        """Temperature of every exit; None without temperature scaling."""
        return self.calibration.temperatures

    @property
    def temperature_of_exits(self) -> list[float | None]:
        """Temperature of every exit, [exits]; each None without temperature scaling."""
        return [*self.temperatures] if self.temperatures else [None] * self.exit_count

    @property
    def measured_normalisation(self) -> Normalisation:
        """Mean and standard deviation of the train split."""
        return Normalisation.from_json(self.normalisation.model_dump())

    def inputs(self, pixels: ImageArray) -> Array:
        """Inputs of the network, from uint8 images [images, height, width, 3] of its size.

        Returns:
            The same images with `preprocessing`, otherwise float32 [images, 3, height, width]:
            from 0 to 1 if it is portable, else normalised.
        """
        if self.portable:
            values: Float32Array = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
            return values / np.float32(255)
        if self.preprocessing:
            return pixels
        norms = self.measured_normalisation
        return normalised(pixels, norms.mean, norms.std)

    def to_metadata(self) -> dict[str, str]:
        """The record as `erde.<field>` → JSON."""
        fields = self.model_dump(mode="json").items()
        return {PREFIX + name: json.dumps(value, ensure_ascii=False) for name, value in fields}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> ExportRecord:
        """Read the output of `to_metadata`; other entries are ignored.

        Raises:
            ValidationError: it is not what erde writes.
            JsonError: an `erde.` entry is not JSON.
        """
        return cls.model_validate(parse_entries(metadata))


class StageRecord(BaseModel):
    """One stage: a file next to the manifest, and the SHA-256 of its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(pattern=FILE)]
    digest: Annotated[str, Field(pattern=DIGEST)]


class Quantisation(BaseModel):
    """How stages were quantised; range_images: images that measured the ranges of activations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Literal["int8"]
    activations: Literal["uint8"]
    operators: list[str]
    range_images: int


class Manifest(BaseModel):
    """Content of a folder of stages, and the metadata of the network.

    quantisation: None for float32.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stages: list[StageRecord]
    network: ExportRecord
    quantisation: Quantisation | None

    @model_validator(mode="after")
    def _a_stage_for_each_exit(self) -> Self:
        if len(self.stages) != self.network.exit_count:
            raise ValueError(f"{self.network.exit_count} stages expected")
        return self


def write_manifest(
    folder: Path, files: list[str], record: ExportRecord, quantisation: Quantisation | None = None
) -> None:
    """Write the manifest of existing files."""
    stages = [StageRecord(file=name, digest=digest_of_file(folder / name)) for name in files]
    manifest = Manifest(stages=stages, network=record, quantisation=quantisation)
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest; the runner checks the files when it opens them.

    Raises:
        BundleError: the manifest is not what erde writes.
    """
    path = folder / MANIFEST
    try:
        return manifest_of(read_json(path), path)
    except InputError as error:
        if isinstance(error, BundleError):
            raise
        raise _not_a_manifest(path, error.message) from error


def manifest_of(document: object, path: Path) -> Manifest:
    """The manifest with this content, read from `path`.

    Raises:
        BundleError: the manifest is not what erde writes.
    """
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        raise _not_a_manifest(path, first_reason(error)) from error


def _not_a_manifest(path: Path, reason: str) -> BundleError:
    return BundleError(
        f"{path} is not what erde writes.",
        got=reason,
        hint=STAGES_AGAIN,
        expected="a manifest written by erde export",
    )
