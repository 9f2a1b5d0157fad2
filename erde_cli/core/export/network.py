"""A network in the form in which it leaves erde: norms folded, preprocessing in front or not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.folding import folded

_EXAMPLES = 2  # a batch of one would be taken for a constant


class _Preprocessing(nn.Module):
    """Normalises as `Normaliser` does: uint8 [batch, h, w, 3] → float32 [batch, 3, h, w]."""

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        self.scale: Tensor
        self.shift: Tensor
        scale, shift = normalisation.scale_and_shift()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, images: Tensor) -> Tensor:
        return (images.float() * self.scale - self.shift).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class ExportNetwork:
    """A network to export, on the CPU, and the record that goes with it.

    network: its first stage takes what the record says, uint8 images or normalised ones.
    example: two images of that form.
    """

    network: EarlyExitNet
    record: ExportRecord
    example: Tensor


def export_network(model: EarlyExitNet, record: ExportRecord) -> ExportNetwork:
    """Make a network ready to be exported; the model itself stays as it is."""
    network = folded(model).cpu().requires_grad_(False)
    side = record.image_size
    example = torch.zeros(_EXAMPLES, 3, side, side)
    if record.preprocessing:
        example = torch.zeros(_EXAMPLES, side, side, 3, dtype=torch.uint8)
        normalise = _Preprocessing(record.measured_normalisation)
        network.stages[0] = nn.Sequential(normalise, network.stages[0]).eval()
    return ExportNetwork(network, record, example)
