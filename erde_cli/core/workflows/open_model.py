"""Open a bundle or an export for prediction, in torch or ONNX Runtime."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.calibration.thresholds_file import ThresholdsDocument, check_document
from erde_cli.core.errors import EXPORT_AGAIN, BundleError
from erde_cli.core.export.formats import format_of
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.export.runtimes import Runtime
from erde_cli.core.inference.prediction import Answering
from erde_cli.core.storage.cache import cache_folder, make_room, temporary_folder, writable_folder
from erde_cli.core.storage.json_files import digest_of
from erde_cli.core.workflows.export import ExportRequest, export_loaded, record_of
from erde_cli.core.workflows.options import Options

if TYPE_CHECKING:  # needs an optional extra, without which torch can still predict
    from erde_cli.core.export.onnx_runtime import OnnxNetwork

_INSTEAD = (
    "verify on other images, and predict with the export: "
    "erde export {bundle} --format onnx-staged --out FOLDER --data IMAGES"
)


@dataclass(frozen=True)
class OpenModel:
    """A model ready to predict, and its calibration (None: not calibrated).

    bundle: path for hints; a placeholder for an export. device: where it computes.
    """

    bundle: Path
    answering: Answering
    calibration: ThresholdsDocument | None
    runtime: Runtime
    device: str

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return len(self.answering.cumulative_macs)


def open_model(path: Path, runtime: Runtime, options: Options) -> OpenModel:
    """Open a bundle or an exported network, in the precision of its thresholds.

    Raises:
        BundleError: the model is unusable.
        DataError: the bundle must be exported for its runtime, and its images are missing.
    """
    # As many threads as torch would use; the default of ONNX Runtime differs.
    threads = options.context("float32").threads
    exported = format_of(path)
    if exported is not None and exported.runtime == runtime:
        return _open_export(path, threads)
    bundle = load_bundle(path)
    calibration = bundle.thresholds()
    if runtime == "onnx":
        from erde_cli.core.export.onnx_prediction import OnnxPredictor

        network = _cached_stages(bundle, options, threads)
        return OpenModel(path, OnnxPredictor(network), calibration, "onnx", "cpu")
    context = options.inference_context(calibration.precision if calibration else "float32")
    predictor = bundle.predictor(context)
    return OpenModel(path, predictor, calibration, runtime, context.device.type)


def _open_export(path: Path, threads: int) -> OpenModel:
    from erde_cli.core.export.onnx_prediction import OnnxPredictor
    from erde_cli.core.export.onnx_runtime import open_exported

    network = open_exported(path, threads)
    record = network.record
    check_document(record.calibration, path, record.exit_count, EXPORT_AGAIN)
    return OpenModel(Path("BUNDLE"), OnnxPredictor(network), record.calibration, "onnx", "cpu")


def _cached_stages(bundle: Bundle, options: Options, threads: int) -> OnnxNetwork:
    """Stages of a bundle from the cache; exported first if missing or damaged."""
    from erde_cli.core.export.onnx_runtime import open_exported

    request = ExportRequest("onnx-staged", Path(), instead=_INSTEAD)
    record = record_of(bundle, request)
    name, root = _key(bundle, record), cache_folder("onnx")
    network = None if root is None else _read_stages(root / name, record, threads)
    if network is not None:
        return network
    folder = (writable_folder("onnx", options.observer) or temporary_folder()) / name
    if folder.exists():
        options.observer.warning(f"{folder} is damaged. Its stages are exported again.")
        shutil.rmtree(folder, ignore_errors=True)
    make_room(folder.parent, 4 * sum(weight.nbytes for weight in bundle.model.parameters()))
    export_loaded(bundle, ExportRequest("onnx-staged", folder, instead=_INSTEAD), options)
    return open_exported(folder, threads)


def _key(bundle: Bundle, record: ExportRecord) -> str:
    """Digest of everything that determines the files: weights, calibration, package versions."""
    document = {
        "record": record.model_dump(mode="json"),
        "architecture": bundle.document.architecture.model_dump(),
        "onnxruntime": version("onnxruntime"),  # verified by it
    }
    return digest_of(document)[:32]


def _read_stages(folder: Path, record: ExportRecord, threads: int) -> OnnxNetwork | None:
    """Stages in a folder; None if they are missing or changed."""
    from erde_cli.core.export.onnx_runtime import open_exported

    try:
        if not folder.exists():
            return None
        network = open_exported(folder, threads)
    except (BundleError, OSError):
        return None
    # The check vector needs the weights; the name of the folder already depends on them.
    untested = network.record.model_copy(update={"test": None})
    return network if untested == record else None
