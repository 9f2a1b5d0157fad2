"""The supported families, with an example of each, and the table of `docs/backbones.md`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from erde_cli.core.models.library.listing import IMAGE_SIZE, Listed, list_backbones
from erde_cli.core.platform.torchvision_import import torchvision_models

HEADER = [
    "| family | example | image size | most exits | G MACs | published |",
    "|---|---|---:|---:|---:|---:|",
]


@dataclass(frozen=True)
class Family:
    """A family, a network of it, and the small network of its structure that tests run.

    of_timm: G MACs of the example in timm's table. torchvision states its own with the weights.
    """

    name: str
    example: str
    small: str
    of_timm: float | None = None

    @property
    def library(self) -> str:
        return self.example.partition("/")[0]

    @cached_property
    def listed(self) -> Listed:
        found = list_backbones(self.example, self.side)
        return next(one for one in found if one.name == self.example)

    @property
    def giga_macs(self) -> float:
        macs = self.listed.macs
        assert macs is not None
        return macs / 1e9

    @property
    def published(self) -> float:
        """In G MACs."""
        return self._weights.meta["_ops"] if self.of_timm is None else self.of_timm

    @property
    def side(self) -> int:
        """Side in pixels of the images that the published figure refers to."""
        if self.of_timm is not None:
            return IMAGE_SIZE
        side: int = self._weights.transforms.keywords["crop_size"]
        return side

    @property
    def row(self) -> str:
        """A line of the table."""
        published = f"{self.published:.{3 if self.of_timm is None else 2}f}"
        return (
            f"| {self.name} | `{self.example}` | {self.side} | {self.listed.exits} "
            f"| {self.giga_macs:.3f} | {published} |"
        )

    @property
    def _weights(self) -> Any:
        """The first weights of the example, not loaded."""
        return next(iter(torchvision_models().get_model_weights(self.example.partition("/")[2])))


TORCHVISION = [
    Family(name, f"torchvision/{example}", small)
    for name, example, small in (
        ("ResNet", "resnet50", "resnet18"),
        ("ResNeXt", "resnext50_32x4d", "resnext"),
        ("Wide ResNet", "wide_resnet50_2", "wide_resnet"),
        ("VGG", "vgg16_bn", "vgg11_bn"),
        ("DenseNet", "densenet121", "densenet"),
        ("MobileNetV2", "mobilenet_v2", "mobilenet_v2"),
        ("MobileNetV3", "mobilenet_v3_large", "mobilenet_v3_small"),
        ("EfficientNet", "efficientnet_b0", "efficientnet_b0"),
        ("EfficientNetV2", "efficientnet_v2_s", "efficientnet_v2"),
        ("RegNet", "regnet_y_400mf", "regnet_y_400mf"),
        ("ConvNeXt", "convnext_tiny", "convnext"),
        ("ShuffleNetV2", "shufflenet_v2_x1_0", "shufflenet_v2_x0_5"),
        ("MNASNet", "mnasnet1_0", "mnasnet0_5"),
        ("ViT", "vit_b_16", "vit"),
        ("Swin", "swin_t", "swin"),
        ("Swin V2", "swin_v2_t", "swin_v2"),
    )
]
# github.com/huggingface/pytorch-image-models, commit 7479d451a6df,
# results/benchmark-infer-amp-nchw-pt240-cu124-rtx3090.csv, column infer_gmacs
TIMM = [
    Family(name, f"timm/{example}", f"timm/{small}", published)
    for name, example, small, published in (
        ("EfficientNet", "efficientnet_b0", "efficientnet_b0", 0.4),
        ("EfficientNet-Lite", "tf_efficientnet_lite0", "tf_efficientnet_lite0", 0.4),
        ("MobileNetV3", "mobilenetv3_large_100", "mobilenetv3_small_050", 0.23),
        ("ResNet", "resnet50", "resnet18", 4.11),
        ("RegNet", "regnetx_004", "regnetx_002", 0.4),
        ("ConvNeXt", "convnext_tiny", "convnext_atto", 4.47),
        ("ViT", "vit_base_patch16_224", "vit_tiny_patch16_224", 17.58),
    )
]
