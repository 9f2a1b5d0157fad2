"""The airbench network for small images, as a list of blocks that can be cut after each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from erde_cli.core.models.backbone import Backbone, initialise, normalised, pooled_classifier

_SIDE = 2  # of the patches that are whitened
_FILTERS = 2 * 3 * _SIDE**2  # each direction, and its negative for the ReLU
_LEAST_VARIANCE = 5e-4  # added to each direction's variance, so that empty ones are not amplified
_PATCHES_AT_ONCE = 2**20


class Whitening(nn.Conv2d):
    """A 2x2 convolution whose fixed weights whiten the patches of the train images.

    Only its bias is trained. Its weights are random until `fit`.
    """

    def __init__(self) -> None:
        super().__init__(3, _FILTERS, _SIDE)
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Set the weights to the patches' principal directions over their standard deviations.

        Args:
            images: normalised, float32 [n, 3, height, width], on the CPU.
        """
        values, directions = torch.linalg.eigh(_covariance(images))
        scaled = (directions / (values + _LEAST_VARIANCE).sqrt()).T.flip(0)  # strongest first
        filters = scaled.reshape(-1, 3, _SIDE, _SIDE)
        self.weight.copy_(torch.cat([filters, -filters]))


def _covariance(images: Tensor) -> Tensor:
    """Mean products of the values of all patches, float64 [12, 12]."""
    total, count = torch.zeros(_FILTERS // 2, _FILTERS // 2, dtype=torch.float64), 0
    at_once = max(1, _PATCHES_AT_ONCE // (images.shape[2] * images.shape[3]))
    for start in range(0, len(images), at_once):
        part = images[start : start + at_once]
        patches = part.unfold(2, _SIDE, 1).unfold(3, _SIDE, 1).permute(0, 2, 3, 1, 4, 5)
        rows = patches.reshape(-1, _FILTERS // 2)
        total += (rows.T @ rows).double()
        count += len(rows)
    return total / count


def airbench(depth: int, width: int, classes: int) -> Backbone:
    """A whitening layer, then three groups of blocks with `width`, 2 and 4 times `width` channels.

    A block is a 3x3 convolution with norm and ReLU. The first block of a group pools the maximum
    of 2x2 before its norm; the first block of all contains the whitening layer. Depth 8 is the
    network of airbench94, except that it has ReLUs, a mean instead of the last maximum, and
    channels 1 : 2 : 4 (airbench94: 1 : 4 : 4).

    Args:
        depth: 6n + 2, including the whitening and the linear layer.
        width: channels of the first group.
        classes: number of classes.

    Source: Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv 2404.00498, section 3.
    """
    blocks: list[nn.Module] = []
    inputs = _FILTERS
    for outputs in (width, 2 * width, 4 * width):
        for index in range((depth - 2) // 3):
            pooling = [nn.MaxPool2d(2)] if index == 0 else []
            first = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
            blocks.append(nn.Sequential(first, *pooling, *normalised(outputs)))
            inputs = outputs
    blocks[0] = nn.Sequential(Whitening(), nn.ReLU(inplace=True), blocks[0])
    classifier = pooled_classifier(inputs, classes)
    initialise([*blocks, classifier])
    return Backbone(blocks, classifier)
