"""Wide residual networks for small images, as a list of blocks that can be cut after each."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from erde_cli.core.models.backbone import Backbone, initialise, normalised, pooled_classifier


class PreactivationBlock(nn.Module):
    """Norm, ReLU and 3x3 convolution, twice, with a shortcut and no ReLU at the end.

    If the shape changes, the shortcut is a 1x1 convolution of the activated features.
    """

    folds = (("conv1", "norm2"),)

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """[batch, inputs, h, w] → [batch, outputs, h / stride, w / stride]."""
        activated = F.relu(self.norm1(features), inplace=True)
        hidden = F.relu(self.norm2(self.conv1(activated)), inplace=True)
        hidden = self.conv2(self.dropout(hidden))
        passed = features if self.shortcut is None else self.shortcut(activated)
        output: Tensor = hidden + passed
        return output


def wrn(depth: int, width: int, classes: int, stem: int, dropout: float) -> Backbone:
    """WRN-d-k: blocks with `width`, 2 and 4 times `width` channels.

    The first block contains the stem. The last norm and ReLU are part of the classifier, so each
    earlier exit needs its own.

    Args:
        depth: d = 6n + 4; two more than in a ResNet, because shortcuts count.
        width: channels of the first third of the blocks, 16 k in the paper.
        classes: number of classes.
        stem: channels of the first convolution, 16 in the paper.
        dropout: share of features dropped between the convolutions of a block.

    Source: Zagoruyko and Komodakis, "Wide residual networks", BMVC 2016, table 1.
    """
    blocks: list[nn.Module] = []
    inputs = stem
    for third, outputs in enumerate((width, 2 * width, 4 * width)):
        for index in range((depth - 4) // 6):
            stride = 2 if third > 0 and index == 0 else 1
            blocks.append(PreactivationBlock(inputs, outputs, stride, dropout))
            inputs = outputs
    blocks[0] = nn.Sequential(nn.Conv2d(3, stem, 3, 1, 1, bias=False), blocks[0])
    classifier = nn.Sequential(*normalised(inputs), *pooled_classifier(inputs, classes))
    initialise([*blocks, classifier])
    return Backbone(blocks, classifier, preactivated=True)
