"""Open exports in ONNX Runtime: the runner's model, and the whole of its metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from erde_cli.core.arrays import ImageArray
from erde_cli.core.errors import first_reason
from erde_cli.core.export.record import ExportRecord, manifest_of
from erde_cli.core.runner.answers import ExportedAnswers
from erde_cli.core.runner.entries import not_written_by_erde
from erde_cli.core.runner.manifest import MANIFEST
from erde_cli.core.runner.metadata import Document
from erde_cli.core.runner.model import Model, OneFile, Run, open_model


@dataclass(frozen=True)
class OnnxNetwork:
    """An exported network, ready to answer, and its record."""

    model: Model
    record: ExportRecord

    def answer(
        self, pixels: ImageArray, thresholds: Sequence[float] | None = None
    ) -> ExportedAnswers:
        """Route uint8 images [images, height, width, 3]; None: under its own thresholds."""
        return self.model.answer(pixels, thresholds)

    def under(self, thresholds: Sequence[float] | None) -> Run:
        """Function that routes preprocessed images under thresholds; None: those in the file."""
        return self.model.under(thresholds)


def open_exported(path: Path, threads: int | None = None) -> OnnxNetwork:
    """Open an export: an ONNX file, or a folder of stages with its manifest.

    Args:
        path: the file or the folder.
        threads: of ONNX Runtime; None: one for each core.

    Raises:
        BundleError: it is missing, damaged, or was not written by erde.
    """
    return with_record(open_model(path, threads=threads), path)


def with_record(model: Model, path: Path) -> OnnxNetwork:
    """A model that was opened from a path, and its whole metadata.

    Raises:
        BundleError: they are not what erde writes.
    """
    if not isinstance(model, OneFile):
        return OnnxNetwork(model, manifest_of(model.document, path / MANIFEST).network)
    return OnnxNetwork(model, read_record(model.document, path))


def read_record(document: Document, path: Path) -> ExportRecord:
    """Metadata of a file, from its entries as JSON.

    Raises:
        BundleError: they are not what erde writes.
    """
    try:
        return ExportRecord.model_validate(document)
    except ValidationError as error:
        raise not_written_by_erde(path, first_reason(error)) from error
