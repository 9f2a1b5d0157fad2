"""Time training steps with erde's gradients of depthwise convolutions and with torch's.

python -m benchmarks.depthwise [--repeats 5] [--threads 2] [--batch 32] [--json]

Forward and backward pass of all exits on one batch, in bfloat16 and channels last.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.measure import arguments, interleave, print_results, show, spread
from erde_cli.core.device import make_context
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.recipe.sections.network import Network

NETWORKS = (
    ("timm/tf_efficientnet_lite0", 224),
    ("timm/tf_efficientnet_lite0", 96),
    ("timm/mobilenetv3_large_100", 96),
    ("torchvision/efficientnet_b0", 96),
    ("torchvision/mobilenet_v2", 96),
    ("torchvision/convnext_tiny", 96),
)
CONTEXT = make_context("cpu", "bfloat16")


def build(backbone: str, size: int, *, placed: bool) -> nn.Module:
    """The network with two exits, placed by erde, or only put into channels last."""
    model = build_model(resolve_architecture(Network(backbone=backbone, exits=2), 10, size), seed=1)
    if placed:
        CONTEXT.place(model)
    return model.to(memory_format=torch.channels_last).train()


def milliseconds(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Milliseconds of one step without the optimizer."""
    start = perf_counter()
    with CONTEXT.autocast():
        logits = model(images)
    F.cross_entropy(logits.float().transpose(1, 2), labels).backward()
    return 1e3 * (perf_counter() - start)


def main() -> None:
    """Measure every network both ways, in turn."""
    given = arguments(__doc__ or "", batch={"type": int, "default": 32})
    document = []
    for backbone, size in NETWORKS:
        images = torch.randn(given.batch, 3, size, size).to(memory_format=torch.channels_last)
        labels = (torch.arange(given.batch) % 10)[:, None].expand(-1, 2)
        models = {name: build(backbone, size, placed=name == "erde") for name in ("torch", "erde")}
        sides = {
            name: partial(milliseconds, model, images, labels) for name, model in models.items()
        }
        found = interleave(sides, given.repeats)
        ratios = [one / other for one, other in zip(found["torch"], found["erde"], strict=True)]
        document.append(
            {"network": backbone, "size": size, "ratio": spread(ratios)}
            | {name: spread(times) for name, times in found.items()}
        )
    columns = ["network", "pixels", "torch, ms", "erde, ms", "torch / erde"]
    rows = [
        [one["network"], str(one["size"]), *(show(one[key]) for key in ("torch", "erde", "ratio"))]
        for one in document
    ]
    print_results("Depthwise convolutions", columns, rows, given.json, {"networks": document})


if __name__ == "__main__":
    main()
