"""A network cut in two for `train: heads`: what is frozen, and the trained layers of every head.

The frozen part turns an image into one row: what the trained layers of each head read, exit after
exit. The trained part turns rows into logits. It shares its layers with the network, so that
training it trains the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.folding import folded
from erde_cli.core.models.layers import Dropout
from erde_cli.core.models.library.chains import ToMap
from erde_cli.core.models.parts import last_linear


class HeadInputs(nn.Module):
    """The frozen part, as inference runs it: a copy in evaluation mode, with folded norms.

    It ends before the first layer of an early head that has something to train, and before the
    last linear layer of the last exit. Pooling therefore comes first where a head begins with it.
    """

    def __init__(self, model: EarlyExitNet, *, last_kept: bool = False) -> None:
        """Copy the frozen part; `last_kept`: the last exit's row is its logits."""
        super().__init__()
        copy = folded(model)
        last = copy.heads[-1] if last_kept else _without(copy.heads[-1], last_linear(copy))
        self.stages = copy.stages
        early = [nn.Sequential(*_parts(head)[0]) for head in copy.heads[:-1]]
        self.heads = nn.ModuleList([*early, last]).eval()

    def each(self, images: Tensor) -> Iterator[Tensor]:
        """What the trained layers of each head read, [batch, ...] each, exit after exit."""
        features = images
        for stage, head in zip(self.stages, self.heads, strict=True):
            features = stage(features)
            yield head(features)

    def forward(self, images: Tensor) -> Tensor:
        """Images [batch, 3, height, width] → rows, float32 [batch, row]."""
        # A copy at once, because a later stage may change features in place.
        rows = [one.flatten(1).to(torch.float32, copy=True) for one in self.each(images)]
        return torch.cat(rows, dim=1)


@dataclass(frozen=True)
class SplitNetwork:
    """The two parts of a network; `trained` takes rows of `row` values in place of images."""

    frozen: HeadInputs
    trained: EarlyExitNet
    row: int


def split_network(model: EarlyExitNet, image_size: int, *, last_kept: bool = False) -> SplitNetwork:
    """Cut a network into a frozen copy of its trunk and the trained layers of its heads.

    Args:
        model: the network, on its device.
        image_size: side of its images in pixels.
        last_kept: whether the last linear layer is frozen too, because it comes from the weights.
    """
    frozen = HeadInputs(model, last_kept=last_kept)
    device = next(model.parameters()).device
    with torch.no_grad():
        image = torch.zeros(1, 3, image_size, image_size, device=device)
        shapes = [one.shape[1:] for one in frozen.each(image)]
    layers = [_parts(head)[1] for head in model.heads[:-1]]
    layers.append([] if last_kept else _last_layers(model))
    heads: list[nn.Module] = []
    start = 0
    for shape, trained in zip(shapes, layers, strict=True):
        heads.append(nn.Sequential(_Columns(start, shape), *trained))
        start += prod(shape)
    stages = [nn.Identity() for _ in heads]
    return SplitNetwork(frozen, EarlyExitNet(stages, heads, model.classes), start)


class _Columns(nn.Module):
    """The columns of a row that belong to one head, in the shape that it reads."""

    def __init__(self, start: int, shape: torch.Size) -> None:
        super().__init__()
        self._start, self._shape = start, shape

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [batch, row] → [batch, *shape]."""
        part = rows[:, self._start : self._start + prod(self._shape)]
        return part.reshape(-1, *self._shape).clone()  # layers can work in place


def _parts(head: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The layers of an early head: those that are frozen, and the rest."""
    layers = list(_layers(head))
    trained = [_is_trained(layer) for layer in layers]
    first = trained.index(True)  # the linear layer at the latest
    return layers[:first], layers[first:]


def _is_trained(layer: nn.Module) -> bool:
    """Whether a layer acts in training only, or has weights.

    The new LayerNorm of a `ToMap` stays as it is: the layers after it can scale and shift too.
    """
    if isinstance(layer, ToMap):
        return False
    return _is_dropout(layer) or any(True for _ in layer.parameters())


def _is_dropout(layer: nn.Module) -> bool:
    return isinstance(layer, Dropout | nn.Dropout)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of nested `nn.Sequential`s, in order."""
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _layers(child)
    else:
        yield module


def _last_layers(model: EarlyExitNet) -> list[nn.Module]:
    """The last linear layer, after the dropout directly before it."""
    linear = last_linear(model)
    before: list[nn.Module] = []
    for layer in model.heads[-1].modules():
        if layer is linear:
            break
        if not list(layer.children()):
            before = [*before, layer] if _is_dropout(layer) else []
    return [*before, linear]


def _without(head: nn.Module, linear: nn.Linear) -> nn.Module:
    """The head with an identity in the place of its last linear layer."""
    [path] = [name for name, layer in head.named_modules() if layer is linear]
    if not path:
        return nn.Identity()
    parent, _, name = path.rpartition(".")
    setattr(head.get_submodule(parent), name, nn.Identity())
    return head
