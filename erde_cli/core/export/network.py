"""A network ready for export: norms folded, preprocessing in front or not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.inference.routing import score_of
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.folding import folded

_EXAMPLES = 2  # torch exports a batch of one as a constant


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
        planes = (images.float() * self.scale - self.shift).permute(0, 3, 1, 2)
        # Without it, torch sees features in channels last, and the exporter writes the mean over an
        # image as a chain of Shape, Range and Gather, which other runtimes read wrongly or not.
        return planes.contiguous()


class _PortablePreprocessing(nn.Module):
    """The same for planes of values from 0 to 1: float32 [batch, 3, height, width]."""

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        self.scale: Tensor
        self.shift: Tensor
        scale, shift = normalisation.scale_and_shift()
        self.register_buffer("scale", (255 * scale)[:, None, None])
        self.register_buffer("shift", shift[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale - self.shift


@dataclass(frozen=True)
class ExportNetwork:
    """A network to export, on the CPU, and its record.

    network: its first stage takes uint8 images, values from 0 to 1 (`record.portable`), or
        normalised ones (`record.preprocessing`).
    example: two images of that form.
    """

    network: EarlyExitNet
    record: ExportRecord
    example: Tensor

    @torch.no_grad()
    def stage_examples(self) -> list[Tensor]:
        """An input of each stage."""
        examples = [self.example]
        for stage in self.network.stages[:-1]:
            examples.append(stage(examples[-1]))
        return examples

    def static(self, exit_: int) -> nn.Module:
        """The stages up to an exit and its head, without the early heads: images → logits."""
        network = self.network
        return nn.Sequential(*network.stages[: exit_ + 1], network.heads[exit_]).eval()


class ExportStage(nn.Module):
    """A stage with its head: input of the stage → features, logits and score of the exit."""

    def __init__(self, exported: ExportNetwork, index: int) -> None:
        super().__init__()
        self.stage, self.head = exported.network.stages[index], exported.network.heads[index]
        self._temperature = exported.record.temperature_of_exits[index]
        self._score = exported.record.score

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Features, logits and score of a batch."""
        features = self.stage(images)
        logits = self.head(features)
        return features, logits, score_of(logits, self._temperature, self._score)


def export_network(model: EarlyExitNet, record: ExportRecord) -> ExportNetwork:
    """Prepare a copy of a network for export."""
    network = folded(model).cpu().requires_grad_(False)
    side = record.image_size
    example = torch.zeros(_EXAMPLES, 3, side, side)
    if record.preprocessing:
        normalise: nn.Module
        if record.portable:
            normalise = _PortablePreprocessing(record.measured_normalisation)
        else:
            normalise = _Preprocessing(record.measured_normalisation)
            example = torch.zeros(_EXAMPLES, side, side, 3, dtype=torch.uint8)
        network.stages[0] = nn.Sequential(normalise, network.stages[0]).eval()
    return ExportNetwork(network, record, example)
