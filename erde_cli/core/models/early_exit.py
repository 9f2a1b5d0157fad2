"""A network with a classifier after every stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EarlyExitNet(nn.Module):
    """A chain of stages with a head after each; exit i is the output of stage i and head i.

    Source: Teerapittayanon et al., "BranchyNet", ICPR 2016, arXiv 1709.01686.
    """

    def __init__(self, stages: Sequence[nn.Module], heads: Sequence[nn.Module], classes: int):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.heads = nn.ModuleList(heads)
        self.classes = classes

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return len(self.stages)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of every exit, [batch, exits, classes], for images [batch, 3, height, width]."""
        logits = []
        features = images
        for stage, head in zip(self.stages, self.heads, strict=True):
            features = stage(features)
            logits.append(head(features))
        return torch.stack(logits, dim=1)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and restore the mode of every submodule afterwards."""
    modes = [(inner, inner.training) for inner in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for inner, training in modes:
            inner.training = training
