"""Writes exported networks: ONNX that stops early, ONNX stages, and a torch.export program."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from erde_cli.core.data import Normalisation
from erde_cli.core.export_graphs import AllExitsGraph, StageGraph, StoppingGraph
from erde_cli.core.files import digest_of_file, write_json
from erde_cli.core.models import EarlyExitNet
from erde_cli.core.onnx_session import FORMAT, MANIFEST, Manifest, float32_from_above
from erde_cli.core.thresholds import write_threshold

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

_OPSET = 20


@dataclass(frozen=True)
class Exportable:
    """A network and all that its files say of it.

    normalisation: None where images come normalised. thresholds: in nats. temperatures: of every
    exit. calibration: the record of how the thresholds were chosen.
    """

    model: EarlyExitNet
    normalisation: Normalisation | None
    image_size: int
    thresholds: tuple[float, ...]
    temperatures: tuple[float, ...] | None
    class_names: tuple[str, ...]
    weights_digest: str
    calibration: dict[str, Any]
    versions: dict[str, str]

    def images(self, count: int) -> Tensor:
        """Example images of the form the graph takes, [count, ...]."""
        size = self.image_size
        if self.normalisation is None:
            return torch.zeros(count, 3, size, size)
        return torch.zeros(count, size, size, 3, dtype=torch.uint8)

    @property
    def metadata(self) -> dict[str, str]:
        """What stands in the file beside the graph: text by name."""
        return {
            "erde.format": str(FORMAT),
            "erde.class_names": json.dumps(list(self.class_names), ensure_ascii=False),
            "erde.image_size": str(self.image_size),
            "erde.preprocessing": json.dumps(self.normalisation is not None),
            "erde.weights_digest": self.weights_digest,
            "erde.calibration": json.dumps(self.calibration),
            "erde.versions": json.dumps(self.versions),
        }


def write_stopping(source: Exportable, path: Path) -> None:
    """Write one ONNX file for one image at a time; `thresholds` is an initialiser that gives way.

    Inputs: `image`, and `thresholds` where others than the calibrated ones are wanted. Outputs:
    `probabilities`, `label`, `exit`.
    """
    import onnx

    graph = StoppingGraph(source.model, source.normalisation, source.temperatures)
    limits = float32_from_above(source.thresholds)
    model = _onnx(
        graph, (source.images(1), torch.from_numpy(limits)),
        ["image", "thresholds"], ["probabilities", "label", "exit"],
    )  # fmt: skip
    model.graph.initializer.append(onnx.numpy_helper.from_array(limits, "thresholds"))
    onnx.helper.set_model_props(model, source.metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def write_staged(source: Exportable, folder: Path) -> None:
    """Write one ONNX file for each stage, for any number of images, and the manifest."""
    import onnx

    stages = []
    images = source.images(2)
    count = source.model.exit_count
    for exit_ in range(count):
        graph = StageGraph(source.model, source.normalisation, source.temperatures, exit_)
        names = ["probabilities", "label", "score", "features"]
        outputs = names if exit_ < count - 1 else names[:-1]
        model = _onnx(graph, (images,), ["images"], outputs, {"images": {0: "batch"}})
        onnx.checker.check_model(model, full_check=True)
        path = folder / f"stage-{exit_}.onnx"
        onnx.save(model, path)
        stages.append({"file": path.name, "digest": digest_of_file(path)})
        if exit_ < count - 1:
            with torch.inference_mode():
                images = graph(images)[-1].clone()
    manifest = Manifest.model_validate({
        "format": FORMAT,
        "stages": stages,
        "thresholds": [write_threshold(value) for value in source.thresholds],
        "preprocessing": source.normalisation is not None,
        "image_size": source.image_size,
        "class_names": list(source.class_names),
        "weights_digest": source.weights_digest,
        "calibration": source.calibration,
        "versions": source.versions,
    })  # fmt: skip
    write_json(folder / MANIFEST, manifest.model_dump())


def write_program(source: Exportable, path: Path) -> None:
    """Write the all-exits network for `torch.export.load`: images in, logits of every exit out."""
    graph = AllExitsGraph(source.model, source.normalisation, source.temperatures)
    shapes = {"images": {0: torch.export.Dim("batch", min=1)}}
    program = torch.export.export(graph, (source.images(2),), dynamic_shapes=shapes)
    with path.open("wb") as handle:
        torch.export.save(program, handle, extra_files=source.metadata)


def _onnx(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: dict[str, dict[int, str]] | None = None,
) -> ModelProto:
    with _quiet():
        program = torch.onnx.export(
            graph, example, dynamo=True, input_names=list(inputs), output_names=list(outputs),
            opset_version=_OPSET, dynamic_shapes=dynamic, verbose=False,
        )  # fmt: skip
    assert program is not None  # noqa: S101 (without a file name it is always given)
    model: ModelProto = program.model_proto
    _forget_origin(model.graph)
    return model


def _forget_origin(graph: GraphProto) -> None:
    """Drop what the exporter notes at every node: half of the file, and paths of this machine."""
    graph.ClearField("metadata_props")
    for value in (*graph.value_info, *graph.input, *graph.output, *graph.initializer):
        value.ClearField("metadata_props")
    for node in graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _forget_origin(attribute.g)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of its steps on stdout and warns of its own parts."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
