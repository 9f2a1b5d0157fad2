"""Export a network with all its exits to a `.pt2` file of torch.export, for any batch size."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import torch

from erde_cli.core.arrays import Float32Array, ImageArray
from erde_cli.core.device import images_at_once
from erde_cli.core.export.logits import answers_of_logits
from erde_cli.core.export.network import ExportNetwork
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.runner.answers import ExportedAnswers

RECORD = "erde.json"


def write_torch_export(exported: ExportNetwork, path: Path) -> None:
    """Write the file: images → logits float32 [batch, exits, classes].

    With `static_exit` in the record: the network up to that exit → [batch, classes].
    """
    exit_ = exported.record.static_exit
    text = json.dumps(exported.record.model_dump(mode="json"), ensure_ascii=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own code
        program = torch.export.export(
            exported.network if exit_ is None else exported.static(exit_),
            (exported.example,),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
        _forget_sources(program)
        archive = BytesIO()  # a path would name the entries in the archive
        torch.export.save(program, archive, extra_files={RECORD: text})
    path.write_bytes(archive.getvalue())


def _forget_sources(program: torch.export.ExportedProgram) -> None:
    """Remove the exporter's notes about the source code, which contain paths."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)


class TorchExported:
    """A `.pt2` file, ready to answer; it computes all exits, then selects one per image."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Open the file; `threads` is ignored, as torch has its own setting."""
        extra = {RECORD: ""}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._network = torch.export.load(path, extra_files=extra).module()
        self.record = ExportRecord.model_validate_json(extra[RECORD])

    @torch.inference_mode()
    def answer(
        self, pixels: ImageArray, thresholds: Sequence[float] | None = None
    ) -> ExportedAnswers:
        """Route uint8 images [images, height, width, 3]; None: under the record's thresholds."""
        logits = torch.from_numpy(self.logits(pixels))
        return answers_of_logits(logits, self.record, thresholds)

    @torch.inference_mode()
    def logits(self, pixels: ImageArray) -> Float32Array:
        """Logits of uint8 images: [images, exits, classes]; static: [images, classes]."""
        inputs = torch.from_numpy(self.record.inputs(pixels))
        size = images_at_once(self.record.image_size, inputs.device)
        parts = [self._network(part) for part in torch.split(inputs, size)]
        logits: Float32Array = torch.cat(parts).numpy()
        return logits
