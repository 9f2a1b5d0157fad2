"""A model that images are given to: a bundle or an export, and the runtime that computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.calibration.thresholds_file import ThresholdsDocument, check_document
from erde_cli.core.export.runtimes import Runtime, is_exported
from erde_cli.core.inference.prediction import Answering
from erde_cli.core.workflows.options import Options


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
    if runtime == "onnx":
        return _exported(path, options) if is_exported(path) else _staged(path, options)
    bundle = load_bundle(path)
    calibration = bundle.thresholds()
    context = options.inference_context(calibration.precision if calibration else "float32")
    predictor = bundle.predictor(context)
    return Opened(path, predictor, calibration, runtime, context.device.type)


def _exported(path: Path, options: Options) -> Opened:
    # Packages of an extra, here and below.
    from erde_cli.core.export.onnx_prediction import OnnxPredictor
    from erde_cli.core.export.onnx_runtime import open_exported

    network = open_exported(path, _threads(options))
    record = network.record
    hint = "export it again: erde export BUNDLE --format onnx --out FILE"
    check_document(record.calibration, path, record.exit_count, hint)
    return Opened(Path("BUNDLE"), OnnxPredictor(network), record.calibration, "onnx", "cpu")


def _staged(path: Path, options: Options) -> Opened:
    from erde_cli.core.export.onnx_prediction import OnnxPredictor
    from erde_cli.core.workflows.onnx_cache import kept_stages

    bundle: Bundle = load_bundle(path)
    network = kept_stages(bundle, options, _threads(options))
    return Opened(path, OnnxPredictor(network), bundle.thresholds(), "onnx", "cpu")


def _threads(options: Options) -> int:
    """As many threads as torch would take: its own default counts other cores."""
    return options.context("float32").threads
