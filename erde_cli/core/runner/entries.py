"""Entries of an ONNX file's metadata: those of a file that stops early, or an error."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from erde_cli.core.errors import EXPORT_AGAIN, BundleError, brief
from erde_cli.core.runner.manifest import MANIFEST
from erde_cli.core.runner.metadata import PREFIX, Document, parse_entries
from erde_cli.core.runner.refusals import require_whole
from erde_cli.core.runner.session import EXPECTED


def entries_of(session: onnxruntime.InferenceSession, path: Path) -> Document:
    """Metadata of a file that stops early, as JSON.

    Raises:
        BundleError: the file was not written by erde, or is not one that stops early.
    """
    entries = session.get_modelmeta().custom_metadata_map
    if any(name.startswith(PREFIX) for name in entries):
        try:
            document = parse_entries(entries)
        except ValueError as error:
            raise not_written_by_erde(path, str(error)) from error
        inputs = [*session.get_inputs(), *session.get_overridable_initializers()]
        require_whole(path, entries, document, [one.name for one in inputs])
        return document
    stage = (path.parent / MANIFEST).is_file()
    raise BundleError(
        f"{path} has no metadata of erde about its classes and exits.",
        got="one stage of several" if stage else "an ONNX file from elsewhere",
        hint=f"give the folder of all stages: {path.parent}" if stage
        else "make one: erde export BUNDLE --format onnx --out FILE",
        expected=EXPECTED,
    )  # fmt: skip


def not_written_by_erde(path: Path, reason: str) -> BundleError:
    """The error for metadata that do not validate."""
    return BundleError(
        f"The metadata in {path} is not what erde export writes.",
        got=brief(reason),
        hint=EXPORT_AGAIN,
        expected=EXPECTED,
    )
