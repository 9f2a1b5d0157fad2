"""VGG with BatchNorm for small images, as a list of blocks that can be cut anywhere."""

from __future__ import annotations

from torch import nn

from erde_cli.core.models.backbone import Backbone, initialise, normalised, pooled_classifier

_CONVOLUTIONS = {8: (1, 1, 1, 1, 1), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3)}  # in each group
_POOLED = 3  # groups that end in a pooling; with more, nothing is left of 32 pixels


def vgg(depth: int, width: int, classes: int) -> Backbone:
    """VGG-8, 13 or 16: five groups of convolutions with 1, 2, 4, 8 and 8 times `width` channels.

    A block is one convolution with norm and ReLU; the last of the first three groups ends in a 2x2
    maximum. One linear layer takes the place of the three of the paper. That is the layout, and
    with the convolutions' biases the very number of parameters, of the literature on distillation.

    Source: Simonyan and Zisserman, ICLR 2015, table 1 (B, D); Tian et al., "Contrastive
    representation distillation", ICLR 2020.
    """
    blocks: list[nn.Module] = []
    inputs = 3
    for group, count in enumerate(_CONVOLUTIONS[depth]):
        outputs = width * min(2**group, 8)
        for index in range(count):
            layers = [nn.Conv2d(inputs, outputs, 3, 1, 1), *normalised(outputs)]
            if index == count - 1 and group < _POOLED:
                layers.append(nn.MaxPool2d(2))
            blocks.append(nn.Sequential(*layers))
            inputs = outputs
    classifier = pooled_classifier(inputs, classes)
    initialise([*blocks, classifier])
    return Backbone(blocks, classifier)
