"""A model that images are given to: a bundle or an export, and the runtime that computes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.calibration.thresholds_file import ThresholdsDocument, check_document
from erde_cli.core.errors import BundleError
from erde_cli.core.export.check import Exported
from erde_cli.core.export.formats import format_of
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.export.runtimes import Runtime
from erde_cli.core.inference.prediction import Answering
from erde_cli.core.storage.cache import cache_folder, make_room, temporary_folder, writable_folder
from erde_cli.core.storage.json_files import digest_of
from erde_cli.core.workflows.export import ExportRequest, export_loaded, record_of
from erde_cli.core.workflows.options import Options

if TYPE_CHECKING:  # a package of an extra: whoever has not got it can still predict in torch
    from erde_cli.core.export.onnx_runtime import OnnxNetwork

_INSTEAD = (
    "verify on others, and predict with what comes out: "
    "erde export {bundle} --format onnx-staged --out FOLDER --data IMAGES"
)


@dataclass(frozen=True)
class Opened:
    """What answers, and the calibration it came with (None: there was none).

    bundle: as a hint names it; of an export, a placeholder. device: where it computes.
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


def open_model(path: Path, runtime: Runtime, options: Options) -> Opened:
    """Open a bundle or an exported network, in the precision of its thresholds.

    Raises:
        BundleError: it is unusable.
        DataError: a bundle has to be exported for its runtime, and its images are missing.
    """
    exported = format_of(path)
    if exported is not None and exported.runtime == runtime:
        network = exported.open(path, _threads(options))
        return _exported(path, network, runtime)
    if runtime == "onnx":
        return _staged(path, options)
    bundle = load_bundle(path)
    calibration = bundle.thresholds()
    context = options.inference_context(calibration.precision if calibration else "float32")
    predictor = bundle.predictor(context)
    return Opened(path, predictor, calibration, runtime, context.device.type)


def _exported(path: Path, network: Exported, runtime: Runtime) -> Opened:
    from erde_cli.core.export.onnx_prediction import OnnxPredictor

    record = network.record
    hint = "export it again: erde export BUNDLE --format onnx --out FILE"
    check_document(record.calibration, path, record.exit_count, hint)
    return Opened(Path("BUNDLE"), OnnxPredictor(network), record.calibration, runtime, "cpu")


def _staged(path: Path, options: Options) -> Opened:
    from erde_cli.core.export.onnx_prediction import OnnxPredictor

    bundle: Bundle = load_bundle(path)
    network = kept_stages(bundle, options, _threads(options))
    return Opened(path, OnnxPredictor(network), bundle.thresholds(), "onnx", "cpu")


def _threads(options: Options) -> int:
    """As many threads as torch would take: its own default counts other cores."""
    return options.context("float32").threads


def kept_stages(bundle: Bundle, options: Options, threads: int) -> OnnxNetwork:
    """The stages of a bundle, opened; exported first where they are not there, or damaged.

    Raises:
        BundleError: the bundle is not calibrated, or not in float32.
        DataError: they have to be made, and there are no images to verify them on.
        ErdeError: the verification failed.
    """
    from erde_cli.core.export.onnx_runtime import open_exported

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
    from erde_cli.core.export.onnx_runtime import open_exported

    try:
        if not folder.exists():
            return None
        found = open_exported(folder, threads)
    except (BundleError, OSError):
        return None
    return found if found.record == record else None
