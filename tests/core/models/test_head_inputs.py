"""A network cut in two: both parts answer as the network does, and share what is trained."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.head_inputs import split_network
from erde_cli.core.models.layers import Dropout
from erde_cli.core.models.parts import last_linear
from tests.core.models.library.small import TIMM, TORCHVISION, make, with_exits

NAMES = [*TORCHVISION, *TIMM]


def images(side: int) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def assert_close(logits: Tensor, expected: Tensor) -> None:
    """Equal but for rounding, which grows with the logits and differs between processors."""
    allowed = 1e-4 * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(logits, expected, rtol=0, atol=allowed)


def with_two_exits(name: str, head: str) -> tuple[EarlyExitNet, int]:
    """An early exit in the middle of a small network, and the side of its images."""
    case = make(name)
    model = with_exits(case, [len(case.chain.blocks) // 2], head)
    for layer in model.heads[0].modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
    return model, case.side


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_frozen_and_trained_part_answer_as_the_network(name: str) -> None:
    model, side = with_two_exits(name, "gap")
    split = split_network(model, side)
    rows = split.frozen(images(side))
    assert rows.shape == (2, split.row)
    logits = split.trained.eval()(rows)
    expected = model.eval()(images(side))
    assert_close(logits, expected)
    with torch.enable_grad():  # layers that work in place must not change what another head keeps
        split.trained.train()(rows).sum().backward()
    assert all(parameter.grad is not None for parameter in split.trained.parameters())


@torch.no_grad()
@pytest.mark.parametrize("name", ["torchvision/resnet18", "densenet", "vit", "convnext"])
@pytest.mark.parametrize("kept", [False, True])
def test_the_head_of_the_paper_too_and_a_last_layer_that_is_kept(name: str, kept: bool) -> None:
    model, side = with_two_exits(name.rpartition("/")[2], "erde")
    split = split_network(model, side, last_kept=kept)
    logits = split.trained.eval()(split.frozen(images(side)))
    assert_close(logits, model.eval()(images(side)))
    last = list(split.trained.heads[-1].parameters())
    assert len(last) == (0 if kept else 2)


def test_the_trained_part_is_the_networks_own_and_the_frozen_part_a_copy() -> None:
    model, side = with_two_exits("mobilenet_v2", "erde")
    split = split_network(model, side)
    trained = set(split.trained.parameters())
    own = {*model.heads[0].parameters(), *last_linear(model).parameters()}
    assert trained == own
    assert not trained & set(split.frozen.parameters())
    buffers = {id(buffer) for buffer in split.trained.buffers()}
    assert buffers == {id(buffer) for buffer in model.heads[0].buffers()}


def test_features_are_pooled_to_what_a_head_reads() -> None:
    model, side = with_two_exits("resnet18", "gap")
    half = model.stages[0][-1].conv2.out_channels
    assert split_network(model, side).row == half + 512  # means of all pixels
    model, side = with_two_exits("resnet18", "erde")
    assert split_network(model, side).row == half * 4 * 4 + 512  # the head begins with a norm


@pytest.mark.parametrize(("name", "channels"), [("vit", 16), ("convnext", 16)])
def test_a_new_layer_norm_before_a_head_is_frozen(name: str, channels: int) -> None:
    model, side = with_two_exits(name, "gap")
    split = split_network(model, side)
    linear, *others = [one for one in split.trained.heads[0].modules() if [*one.parameters(False)]]
    assert (linear.in_features, others) == (channels, [])


def test_dropout_is_trained_where_it_comes_before_the_trained_layers() -> None:
    early = Dropout(0.5)
    model, side = with_two_exits("mobilenet_v2", "erde")
    split = split_network(model, side)
    drops = [layer for layer in split.trained.modules() if isinstance(layer, nn.Dropout | Dropout)]
    assert [layer.p for layer in drops] == [early.p, 0.2]
    rows = split.frozen(images(side))
    split.trained.train()
    assert not torch.equal(split.trained(rows), split.trained(rows))
    assert torch.equal(split.frozen(images(side)), rows)


def test_no_feature_changes_after_a_head_has_read_it() -> None:
    """A later stage may begin with a layer that works in place."""
    stages = [nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(inplace=True))]
    heads = [
        nn.Sequential(nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)),
        nn.Sequential(nn.Flatten(), nn.Linear(16, 2)),
    ]
    model = EarlyExitNet(stages, heads, 2).eval()
    split = split_network(model, 2)
    with torch.no_grad():
        logits = split.trained.eval()(split.frozen(images(2)))
        torch.testing.assert_close(logits, model(images(2)))
