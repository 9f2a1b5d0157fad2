"""A small network in both forms of ONNX, and pixels for it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from erde_cli.core.export.network import export_network
from erde_cli.core.export.onnx_single import write_onnx_file
from erde_cli.core.export.onnx_staged import write_stages
from erde_cli.core.inference.routing import all_scores
from erde_cli.core.models.architecture import Architecture

from ..export.test_export import record_of, trained_like

SIDE = 16
PIXELS = np.random.default_rng(1).integers(0, 256, (9, SIDE, SIDE, 3), dtype=np.uint8)


def write_exports(folder: Path, **changed: Any) -> None:
    """`one.onnx` and `stages`, with thresholds at which images leave at every exit."""
    model = trained_like(Architecture("resnet", 8, 4, (1, 2), "gap", classes=5, image_size=SIDE))
    plain = record_of([0.0, 0.0], preprocessing=False)
    with torch.inference_mode():
        scores = all_scores(model(torch.from_numpy(plain.inputs(PIXELS))))
    middle = [float(column.sort().values[[3, 4]].mean()) for column in scores.T[:-1]]
    exported = export_network(model, record_of(middle, **changed))
    write_onnx_file(exported, folder / "one.onnx")
    (folder / "stages").mkdir()
    write_stages(exported, folder / "stages")
