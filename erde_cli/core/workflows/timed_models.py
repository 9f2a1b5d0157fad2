"""Prepare a bundle for latency measurements, in torch or ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.data.normalisation import Normaliser
from erde_cli.core.export.runtimes import Runtime
from erde_cli.core.inference.answers import ready
from erde_cli.core.inference.routing import route
from erde_cli.core.measurement.latency import Runs, TorchRuns, leaving_at
from erde_cli.core.measurement.memory import peak_bytes, weight_bytes
from erde_cli.core.workflows.options import Options

if TYPE_CHECKING:
    from erde_cli.core.export.formats import FormatName


@contextmanager
def open_timed(runtime: Runtime, bundle: Bundle, options: Options) -> Iterator[TimedModel]:
    """Prepare a bundle for measurements; exports for ONNX Runtime are temporary.

    Raises:
        BundleError: for ONNX Runtime, the bundle is not calibrated, or not in float32.
    """
    if runtime == "torch":
        yield _TorchModel(bundle, options)
        return
    with TemporaryDirectory(prefix="erde-") as folder:
        yield _OnnxModel(bundle, Path(folder), options)


class _TorchModel:
    """A bundle in torch; `images` normalises uint8 [n, height, width, 3] for `runs`."""

    def __init__(self, bundle: Bundle, options: Options) -> None:
        thresholds = bundle.thresholds()
        precision = thresholds.precision if thresholds else "float32"
        self.context = options.inference_context(precision)
        self._model = ready(bundle.model, self.context)
        self._temperatures = thresholds.temperatures if thresholds else None
        self._score = bundle.score
        self.images = Normaliser(bundle.normalisation, bundle.image_size, self.context)
        self.weight_bytes: int | None = weight_bytes(self._model)

    def runs(self, batch: int) -> Runs:
        """The same network for every batch size."""
        return TorchRuns(self._model, self._temperatures, self.context.autocast, self._score)

    def peak_bytes(self, images: Tensor) -> int | None:
        """Peak bytes when all images go to the last exit, the pass that needs most memory."""
        never = leaving_at(self._model.exit_count - 1, self._model.exit_count)

        def run(images: Tensor) -> Tensor:
            with self.context.autocast(), torch.inference_mode():
                return route(self._model, images, never).logits

        return peak_bytes(self._model, run, images)


class _OnnxModel:
    """Exports without preprocessing, like the torch model; each is written at its first use.

    ONNX Runtime does not report the memory of its tensors and weights.
    """

    weight_bytes: int | None = None

    def __init__(self, bundle: Bundle, folder: Path, options: Options) -> None:
        from erde_cli.core.workflows.export import ExportRequest, record_of

        self._bundle, self._folder, self._options = bundle, folder, options
        self._record = record_of(bundle, ExportRequest("onnx", folder, preprocessing=False))
        self.context = options.context("float32")
        self.images = Normaliser(bundle.normalisation, bundle.image_size, self.context)

    def runs(self, batch: int) -> Runs:
        """The single file for single images, the stages for larger batches."""
        return self._single if batch == 1 else self._staged

    def peak_bytes(self, images: Tensor) -> int | None:
        """None: unknown."""
        return None

    @cached_property
    def _single(self) -> Runs:
        return self._exported("onnx", self._folder / "model.onnx")

    @cached_property
    def _staged(self) -> Runs:
        return self._exported("onnx-staged", self._folder / "stages")

    def _exported(self, form: FormatName, place: Path) -> Runs:
        from erde_cli.core.export.onnx_runtime import open_exported
        from erde_cli.core.measurement.onnx_latency import OnnxRuns
        from erde_cli.core.workflows.export import ExportRequest, export_loaded

        export_loaded(self._bundle, ExportRequest(form, place, preprocessing=False), self._options)
        return OnnxRuns(open_exported(place, self.context.threads), self._alone)

    @cached_property
    def _alone(self) -> list[Any]:
        from erde_cli.core.export.network import export_network
        from erde_cli.core.export.onnx_logits import write_static
        from erde_cli.core.runner.session import open_session

        exported, networks = export_network(self._bundle.model, self._record), []
        for exit_ in range(exported.network.exit_count):
            path = self._folder / f"exit{exit_}.onnx"
            write_static(exported, path, exit_)
            networks.append(open_session(path, self.context.threads))
        return networks


TimedModel = _TorchModel | _OnnxModel
