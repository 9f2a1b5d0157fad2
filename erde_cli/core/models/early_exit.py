"""A network with a classifier after every stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch import nn


class EarlyExitNet(nn.Module):
    """Stages in a row, a head after each; exit i is stage i's output through head i."""

    def __init__(self, stages: Sequence[nn.Module], heads: Sequence[nn.Module], classes: int):
        super().__init__()
        if len(stages) != len(heads):
            raise ValueError(f"{len(stages)} stages but {len(heads)} heads")
        self.stages = nn.ModuleList(stages)
        self.heads = nn.ModuleList(heads)
        self.classes = classes

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return len(self.stages)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of every exit, [batch, exits, classes], of images [batch, 3, height, width]."""
        logits = []
        features = images
        for stage, head in zip(self.stages, self.heads, strict=True):
            features = stage(features)
            logits.append(head(features))
        return torch.stack(logits, dim=1)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode; frozen submodules stay frozen afterwards."""
    modes = [(inner, inner.training) for inner in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for inner, training in modes:
            inner.training = training
