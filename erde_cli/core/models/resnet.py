"""Residual networks for small images, as a list of blocks that can be cut after each."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from erde_cli.core.models.backbone import Backbone, initialise, normalised, pooled_classifier


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, which is a 1x1 convolution if the shape changes."""

    folds = (("conv1", "norm1"), ("conv2", "norm2"))

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, features: Tensor) -> Tensor:
        """[batch, inputs, h, w] → [batch, outputs, h / stride, w / stride]."""
        hidden = F.relu(self.norm1(self.conv1(features)), inplace=True)
        hidden = self.norm2(self.conv2(hidden))
        return F.relu(hidden + self.shortcut(features), inplace=True)


def resnet(depth: int, width: int, classes: int, stem: int, stem_stride: int = 1) -> Backbone:
    """ResNet-(6n+2): 3n blocks with `width`, 2 and 4 times `width` channels.

    The first block contains the stem.

    Args:
        depth: 6n + 2.
        width: channels of the first third of the blocks.
        classes: number of classes.
        stem: channels of the first convolution; `width` in the paper, half of it in the resnet8x4
            and resnet32x4 of papers on distillation.
        stem_stride: of the first convolution; 1 in the paper, 2 halves the side of all features.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2;
    shortcuts with a 1x1 convolution (option B), as in papers on distillation.
    """
    blocks: list[nn.Module] = []
    inputs = stem
    for third, outputs in enumerate((width, 2 * width, 4 * width)):
        for index in range((depth - 2) // 6):
            stride = 2 if third > 0 and index == 0 else 1
            blocks.append(BasicBlock(inputs, outputs, stride))
            inputs = outputs
    first = nn.Conv2d(3, stem, 3, stem_stride, 1, bias=False)
    blocks[0] = nn.Sequential(first, *normalised(stem), blocks[0])
    classifier = pooled_classifier(inputs, classes)
    initialise([*blocks, classifier])
    return Backbone(blocks, classifier)
