"""Batched inference of earlyon with the same weights; the whole batch leaves together."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.platform.torchvision_import import torchvision_datasets


class _Trunk(nn.Module):
    """The stages by name, as earlyon hooks them, and the last head."""

    def __init__(self, model: EarlyExitNet) -> None:
        super().__init__()
        for index, stage in enumerate(model.stages):
            self.add_module(f"stage{index}", stage)
        self.classifier = model.heads[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the last exit."""
        features = images
        for module in self.children():
            features = module(features)
        return features


def earlyon_batched(
    model: EarlyExitNet, thresholds: Sequence[float]
) -> Callable[[Tensor], object] | None:
    """Batched inference of earlyon with these stages, heads and θ (nats); None if it is missing."""
    try:
        torchvision_datasets()  # earlyon imports torchvision
        from earlyon.core.types import EarlyExitConfig, ExitPoint
        from earlyon.core.wrappers import EarlyExitWrapper
    except ImportError:
        print("earlyon is missing: pip install -e '.[benchmarks]'", file=sys.stderr)
        return None
    model = copy.deepcopy(model)
    early = range(model.exit_count - 1)
    points = [ExitPoint(f"exit{i}", f"stage{i}", 1) for i in early]
    config = EarlyExitConfig(
        "erde",
        model.classes,
        points,
        entropy_thresholds=list(thresholds),
        routing_policy="entropy",
    )
    heads = {f"exit{i}": model.heads[i] for i in early}
    wrapped = EarlyExitWrapper(_Trunk(model), heads, nn.Identity(), config, (1, 3, 32, 32)).eval()
    run: Callable[[Tensor], object] = wrapped.forward_inference_batched
    return run
