"""Stage files of a bundle for ONNX Runtime: made once, verified, and kept in the user's cache."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.errors import BundleError
from erde_cli.core.export.onnx_runtime import OnnxNetwork, open_exported
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.storage.cache import cache_folder, make_room, temporary_folder, writable_folder
from erde_cli.core.storage.files import digest_of
from erde_cli.core.workflows.export import ExportRequest, export_loaded, record_of
from erde_cli.core.workflows.options import Options

_INSTEAD = (
    "verify on others, and predict with what comes out: "
    "erde export {bundle} --format onnx-staged --out FOLDER --data IMAGES"
)


def kept_stages(bundle: Bundle, options: Options, threads: int) -> OnnxNetwork:
    """The stages of a bundle, opened; exported first where they are not there, or damaged.

    Raises:
        BundleError: the bundle is not calibrated, or not in float32.
        DataError: they have to be made, and there are no images to verify them on.
        ErdeError: the verification failed.
    """
    request = ExportRequest("onnx-staged", Path(), instead=_INSTEAD)
    record = record_of(bundle, request)
    name, root = _key(bundle, record), cache_folder("onnx")
    found = None if root is None else _opened(root / name, record, threads)
    if found is not None:
        return found
    folder = (writable_folder("onnx", options.observer) or temporary_folder()) / name
    if folder.exists():
        options.observer.warning(f"{folder} is damaged: its stages are exported anew.")
        shutil.rmtree(folder, ignore_errors=True)
    make_room(folder.parent, 4 * sum(weight.nbytes for weight in bundle.model.parameters()))
    export_loaded(bundle, ExportRequest("onnx-staged", folder, instead=_INSTEAD), options)
    return open_exported(folder, threads)


def _key(bundle: Bundle, record: ExportRecord) -> str:
    """Digest of all that decides the files: weights, calibration, versions of what makes them."""
    document = {
        "record": record.model_dump(mode="json"),
        "architecture": bundle.document.architecture.model_dump(),
        "onnxruntime": version("onnxruntime"),  # verified by it
    }
    return digest_of(document)[:32]


def _opened(folder: Path, record: ExportRecord, threads: int) -> OnnxNetwork | None:
    """What is kept there; None where it is missing or no longer what was written."""
    try:
        if not folder.exists():
            return None
        found = open_exported(folder, threads)
    except (BundleError, OSError):
        return None
    return found if found.record == record else None
