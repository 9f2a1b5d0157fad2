"""VGG with BatchNorm for small images, as a list of blocks that can be cut after each."""

from __future__ import annotations

from torch import nn

from erde_cli.core.models.backbone import Backbone, initialise, normalised, pooled_classifier

_CONVOLUTIONS = {8: (1, 1, 1, 1, 1), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3)}  # in each group
_POOLED = 3  # groups that end in pooling; more would shrink 32 pixels too far


def vgg(depth: int, width: int, classes: int) -> Backbone:
    """VGG-8, 13 or 16: five groups of convolutions with 1, 2, 4, 8 and 8 times `width` channels.

    A block is one convolution with norm and ReLU. The last block of each of the first three groups
    ends with 2x2 maximum pooling. One linear layer replaces the three of the paper. Layout and
    number of parameters are those of papers on distillation, whose convolutions have biases.

    Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image
    recognition", ICLR 2015, table 1 (B, D); Tian et al., "Contrastive representation
    distillation", ICLR 2020.
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
