"""The network with a classifier after every stage, and its heads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from erde_cli.core.errors import InputError
from erde_cli.core.models.architecture import Architecture, build_model, resolve_architecture
from erde_cli.core.models.heads import StageOutput, erde_head, gap_head
from erde_cli.core.models.layers import Dropout, HalvingPool
from erde_cli.core.models.resnet import resnet
from erde_cli.core.recipe.sections.network import Network


def make_images(count: int, size: int = 8) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("head", ["erde", "gap"])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(
    ("depth", "cuts", "classes", "size"),
    [(8, (), 5, 8), (8, (1,), 2, 9), (8, (1, 2), 5, 12), (14, (1, 2, 3, 4, 5), 3, 8)],
)
def test_the_logits_are_batch_by_exits_by_classes(
    depth: int, cuts: tuple[int, ...], classes: int, size: int, batch: int, head: str
) -> None:
    model = build_model(Architecture("resnet", depth, 2, cuts, head, classes, size)).eval()
    logits = model(make_images(batch, size))
    assert logits.shape == (batch, len(cuts) + 1, classes)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_backbone_can_be_cut_after_any_block(cut: int) -> None:
    model = build_model(Architecture("resnet", 14, 2, (cut,), "gap", 5, 8))
    assert [len(stage) for stage in model.stages] == [cut, 6 - cut]


@pytest.mark.parametrize("cuts", [(), (2,), (1, 3), (1, 2, 3, 4, 5)])
def test_the_last_exit_is_the_backbone_with_its_own_classifier(cuts: tuple[int, ...]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        backbone = resnet(14, 2, 5, 2)
    plain = nn.Sequential(*backbone.blocks, backbone.classifier).eval()
    model = build_model(Architecture("resnet", 14, 2, cuts, "erde", 5, 8), seed=7).eval()
    images = make_images(3)
    assert torch.equal(model(images)[:, -1], plain(images))


def test_an_exit_is_the_output_of_its_stage_through_its_head() -> None:
    model = build_model(Architecture("resnet", 8, 2, (1, 2), "erde", 5, 8)).eval()
    features = images = make_images(3)
    logits = model(images)
    for exit_, (stage, head) in enumerate(zip(model.stages, model.heads, strict=True)):
        features = stage(features)
        assert torch.equal(logits[:, exit_], head(features))


@pytest.mark.parametrize("exit_", [0, 1, 2])
def test_an_early_exit_hangs_on_its_own_head_and_no_deeper_stage(exit_: int) -> None:
    model = build_model(Architecture("resnet", 8, 2, (1, 2), "gap", 5, 8))
    model(make_images(4))[:, exit_].square().sum().backward()
    used = [
        [
            any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())
            for part in parts
        ]
        for parts in (model.stages, model.heads)
    ]
    assert used == [[index <= exit_ for index in range(3)], [index == exit_ for index in range(3)]]


def test_the_head_of_the_paper_has_the_layers_of_the_paper() -> None:
    head = erde_head(StageOutput(6, 9, False), 5, 0.5)
    assert [type(layer) for layer in head] == [
        nn.BatchNorm2d,
        nn.ReLU,
        HalvingPool,
        nn.Flatten,
        Dropout,
        nn.Linear,
    ]
    assert (head[0].num_features, head[4].p) == (6, 0.5)
    assert (head[5].in_features, head[5].out_features) == (6 * 4 * 4, 5)


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_the_heads_drop_the_share_of_the_network(share: float) -> None:
    network = Network(depth=8, width=2, exits=[1], head_dropout=share)
    head = build_model(resolve_architecture(network, 5, 8)).heads[0]
    assert [layer.p for layer in head if isinstance(layer, Dropout)] == [share] * (share > 0)


@pytest.mark.parametrize("side", [2, 3, 4, 9])
def test_a_head_fits_features_of_its_side(side: int) -> None:
    features = torch.zeros(2, 6, side, side)
    output = StageOutput(6, side, preactivated=False)
    assert erde_head(output, 5, 0.5)(features).shape == (2, 5)
    assert gap_head(output, 5)(features).shape == (2, 5)


def test_the_head_of_the_paper_refuses_features_that_it_cannot_pool() -> None:
    with pytest.raises(InputError, match="1x1") as caught:
        erde_head(StageOutput(6, 1, False), 5, 0.5)
    assert "2x2" in caught.value.expected
    assert "head: gap" in caught.value.hint


def test_the_head_of_means_takes_features_of_one_pixel() -> None:
    features = make_images(2)[:, :, :1, :1]
    head = gap_head(StageOutput(3, 1, False), 5)
    assert torch.equal(head(features), head[-1](features.flatten(1)))
