"""`manifest.json` of a folder of stages, validated when written and when read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from erde_cli.core.errors import BundleError, InputError, first_reason
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.export.runtimes import MANIFEST
from erde_cli.core.storage.files import digest_of_file, read_json, write_json

_AGAIN = "export it again: erde export BUNDLE --format onnx-staged --out FOLDER"


class StageRecord(BaseModel):
    """One stage: a file beside the manifest, and the SHA-256 of its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # A name and no path: nothing outside of the folder is ever opened.
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.onnx$")]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Quantisation(BaseModel):
    """How stages were quantised, and on how many images the ranges of activations were measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Literal["int8"]
    activations: Literal["uint8"]
    operators: list[str]
    range_images: int


class Manifest(BaseModel):
    """What a folder of stages holds, and what is told of the network.

    quantisation: None where all is float32.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stages: list[StageRecord]
    network: ExportRecord
    quantisation: Quantisation | None = None

    @model_validator(mode="after")
    def _a_stage_for_each_exit(self) -> Self:
        if len(self.stages) != self.network.exit_count:
            raise ValueError(f"{self.network.exit_count} stages expected")
        return self


def write_manifest(
    folder: Path, files: list[str], record: ExportRecord, quantisation: Quantisation | None = None
) -> None:
    """Write the manifest of files that are there already."""
    stages = [StageRecord(file=name, digest=digest_of_file(folder / name)) for name in files]
    manifest = Manifest(stages=stages, network=record, quantisation=quantisation)
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest, and see that its files are there and as they were.

    Raises:
        BundleError: a file is missing or damaged, or the manifest is not what erde writes.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate(read_json(path))
    except (ValidationError, InputError) as error:
        raise BundleError(
            f"{path} is not what erde writes.",
            got=first_reason(error) if isinstance(error, ValidationError) else error.message,
            hint=_AGAIN,
            expected="a manifest as erde export writes it",
        ) from error
    for stage in manifest.stages:
        file = folder / stage.file
        if not file.is_file():
            raise BundleError(
                f"{folder} has no {stage.file}.",
                hint=_AGAIN,
                expected="every file that its manifest names",
            )
        if (digest := digest_of_file(file)) != stage.digest:
            raise BundleError(
                f"{file} is damaged, or was changed after it was exported.",
                got=f"digest {digest[:12]}",
                expected=f"digest {stage.digest[:12]}",
                hint=_AGAIN,
            )
    return manifest
