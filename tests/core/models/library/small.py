"""Networks of the libraries for tests: one small member of each kind."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.heads import erde_head, gap_head
from erde_cli.core.models.library.chains import chain_of, head_input
from erde_cli.core.models.library.kind import Kind, LibraryBackbone
from erde_cli.core.models.library.networks import library_network
from erde_cli.core.models.library.torchvision_kinds import KINDS
from erde_cli.core.platform.torchvision_import import torchvision_models

CLASSES = 5


@dataclass(frozen=True)
class Case:
    """A network of the library and its chain, which share their weights."""

    network: nn.Module
    chain: LibraryBackbone
    side: int

    @property
    def whole(self) -> nn.Sequential:
        return nn.Sequential(*self.chain.blocks, self.chain.classifier)


def named(name: str, side: int) -> tuple[nn.Module, Kind]:
    return library_network(name, CLASSES, side)


def vgg(side: int) -> tuple[nn.Module, Kind]:
    """Without its classifier of 120 million weights."""
    with torch.device("meta"):
        network, kind = library_network("torchvision/vgg11_bn", CLASSES, side)
    network.classifier = nn.Sequential(
        nn.Linear(512 * 49, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, CLASSES)
    )
    network.features.to_empty(device="cpu")  # type: ignore[operator, union-attr]
    for layer in network.features.modules():  # type: ignore[union-attr]
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return network, kind


def vit(side: int) -> tuple[nn.Module, Kind]:
    kind = torchvision_models().VisionTransformer
    network = kind(side, side // 4, 3, 2, 16, 32, num_classes=CLASSES)
    nn.init.normal_(network.heads.head.weight)  # torchvision draws zeros
    return network, KINDS["vision_transformer"]


def swin(side: int, version: int) -> tuple[nn.Module, Kind]:
    module = torchvision_models().swin_transformer
    later = {
        "block": module.SwinTransformerBlockV2,
        "downsample_layer": module.PatchMergingV2,
    }
    network = module.SwinTransformer(
        [2, 2], 16, [2, 2, 2], [2, 2, 4], [4, 4], num_classes=CLASSES,
        **later if version == 2 else {},
    )  # fmt: skip
    return network, KINDS["swin_transformer"]


def convnext(side: int) -> tuple[nn.Module, Kind]:
    module = torchvision_models().convnext
    settings = [(8, 16, 2), (16, 32, 2), (32, None, 2)]
    blocks = [module.CNBlockConfig(*setting) for setting in settings]
    network = module.ConvNeXt(blocks, 0.1, layer_scale=0.5, num_classes=CLASSES)
    return network, KINDS["convnext"]


def densenet(side: int) -> tuple[nn.Module, Kind]:
    network = torchvision_models().DenseNet(8, (2, 2, 2, 2), 16, num_classes=CLASSES)
    return network, KINDS["densenet"]


def resnet(side: int, **keys: int) -> tuple[nn.Module, Kind]:
    """ResNeXt and Wide ResNet, which are ResNets of other widths, with a block in every group."""
    module = torchvision_models().resnet
    network = module.ResNet(module.Bottleneck, [1, 1, 1, 1], num_classes=CLASSES, **keys)
    return network, KINDS["resnet"]


def efficientnet_v2(side: int) -> tuple[nn.Module, Kind]:
    module = torchvision_models().efficientnet
    settings = [
        module.FusedMBConvConfig(1, 3, 1, 8, 8, 2),
        module.FusedMBConvConfig(4, 3, 2, 8, 16, 2),
        module.MBConvConfig(4, 3, 2, 16, 24, 2),
    ]
    network = module.EfficientNet(settings, 0.2, num_classes=CLASSES, last_channel=32)
    return network, KINDS["efficientnet"]


TORCHVISION = {
    "resnet18": (partial(named, "torchvision/resnet18"), 32),
    "resnext": (partial(resnet, groups=32, width_per_group=4), 32),
    "wide_resnet": (partial(resnet, width_per_group=128), 32),
    "efficientnet_v2": (efficientnet_v2, 32),
    "regnet_y_400mf": (partial(named, "torchvision/regnet_y_400mf"), 32),
    "mobilenet_v2": (partial(named, "torchvision/mobilenet_v2"), 32),
    "mobilenet_v3_small": (partial(named, "torchvision/mobilenet_v3_small"), 32),
    "efficientnet_b0": (partial(named, "torchvision/efficientnet_b0"), 32),
    "shufflenet_v2_x0_5": (partial(named, "torchvision/shufflenet_v2_x0_5"), 32),
    "mnasnet0_5": (partial(named, "torchvision/mnasnet0_5"), 32),
    "vgg11_bn": (vgg, 32),
    "densenet": (densenet, 32),
    "convnext": (convnext, 32),
    "vit": (vit, 32),
    "swin": (partial(swin, version=1), 32),
    "swin_v2": (partial(swin, version=2), 32),
}
TIMM = {
    f"timm/{name}": (partial(named, f"timm/{name}"), 64)
    for name in (
        "tf_efficientnet_lite0", "efficientnet_b0", "mobilenetv3_small_050", "resnet18",
        "resnet26d", "regnety_002", "regnetx_002", "convnext_atto", "convnextv2_atto",
        "vit_tiny_patch16_224", "vit_wee_patch16_reg1_gap_256",
    )
}  # fmt: skip


def make(name: str) -> Case:
    """A network of the tables above with fresh weights, whose norms have seen images."""
    torch.manual_seed(0)
    build, side = {**TORCHVISION, **TIMM}[name]
    network, kind = build(side)
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
        norm.momentum = 1
    with torch.no_grad():  # with other statistics, images of 32 pixels can differ by rounding only
        network.train()(torch.randn(8, 3, side, side))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.running_var.clamp_(0.001)  # nearly constant channels would amplify rounding
    return Case(network, chain_of(network, kind), side)


def with_exits(case: Case, cuts: list[int], head: str = "gap") -> EarlyExitNet:
    """The network with heads after some of its blocks, as the recipe's `exits` will cut it."""
    blocks = case.chain.blocks
    bounds = [0, *cuts, len(blocks)]
    stages = [nn.Sequential(*blocks[start:end]) for start, end in pairwise(bounds)]
    heads: list[nn.Module] = []
    features = torch.zeros(1, 3, case.side, case.side)
    for stage in stages[:-1]:
        with torch.no_grad():
            features = stage.eval()(features)
        before, output = head_input(case.chain, features)
        built = gap_head if head == "gap" else partial(erde_head, dropout=0.5)
        heads.append(nn.Sequential(*before, built(output, CLASSES)))
    return EarlyExitNet(stages, [*heads, case.chain.classifier], CLASSES)
