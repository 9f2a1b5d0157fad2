"""Strided 1x1 convolutions in channels last: the same function, by another kernel."""

import copy

import pytest
import torch
from torch import Tensor, nn

from erde_cli.core.device import make_context
from erde_cli.core.platform.pointwise import guard_pointwise

LAST = torch.channels_last


def passes(module: nn.Module, images: Tensor) -> list[Tensor]:
    images = images.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    output = module(images)
    gradient = torch.linspace(-1, 1, output.numel()).view(output.shape)
    return [output, *torch.autograd.grad(output, [images, *module.parameters()], gradient)]


@pytest.mark.parametrize("stride", [2, 3, (1, 2), (2, 1)])
@pytest.mark.parametrize("side", [1, 5, 12])
@pytest.mark.parametrize(("inputs", "groups", "bias"), [(3, 1, True), (8, 2, False), (16, 1, True)])
def test_answers_and_gradients_are_those_of_contiguous_images(
    stride: int | tuple[int, int], side: int, inputs: int, groups: int, bias: bool
) -> None:
    torch.manual_seed(1)
    plain = nn.Conv2d(inputs, 4, 1, stride, groups=groups, bias=bias)
    guarded = copy.deepcopy(plain).to(memory_format=LAST)
    guard_pointwise(guarded)
    images = torch.randn(5, inputs, side, side + 2)
    wanted = passes(plain.double(), images.double())
    found = passes(guarded, images.contiguous(memory_format=LAST))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


def test_parameters_names_and_class_stay_for_whoever_asks() -> None:
    layer = nn.Conv2d(4, 8, 1, stride=2)
    state, text = copy.deepcopy(layer.state_dict()), str(layer.extra_repr())
    guard_pointwise(layer)
    assert isinstance(layer, nn.Conv2d)
    assert list(layer.state_dict()) == list(state)
    assert layer.extra_repr() == text
    again = copy.deepcopy(layer)
    assert type(again) is type(layer) is not nn.Conv2d


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 3, stride=2),
        nn.Conv2d(4, 4, (1, 3), stride=2),
        nn.Conv2d(4, 4, 1, stride=2, padding=1),
        nn.LazyConv2d(4, 1, stride=2),
    ],
    ids=str,
)
def test_other_convolutions_are_left_as_they_are(layer: nn.Module) -> None:
    kind = type(layer)
    guard_pointwise(nn.Sequential(layer))
    assert type(layer) is kind


@pytest.mark.parametrize("padding", [0, "valid"])
def test_it_is_found_at_any_depth_and_for_any_way_to_say_no_padding(padding: int | str) -> None:
    layer = nn.Conv2d(4, 4, 1, stride=2, padding=padding)
    guard_pointwise(nn.Sequential(nn.ModuleDict({"a": nn.Sequential(layer)})))
    assert type(layer) is not nn.Conv2d


def test_networks_that_are_placed_in_channels_last_are_guarded_and_others_are_not() -> None:
    for layout, guarded in (("channels_last", True), ("contiguous", False)):
        module = nn.Sequential(nn.Conv2d(4, 4, 1, stride=2))
        make_context("cpu", "float32", memory_format=layout).place(module)
        assert (type(module[0]) is not nn.Conv2d) is guarded


@pytest.mark.parametrize("how", ["no gradient", "frozen weight", "another device"])
def test_where_no_gradient_of_the_weights_is_due_torch_computes_as_ever(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = nn.Conv2d(4, 4, 1, stride=2)
    guard_pointwise(layer)
    taken = []
    real = nn.Conv2d._conv_forward
    monkeypatch.setattr(nn.Conv2d, "_conv_forward", lambda *given: taken.append(1) or real(*given))
    images = torch.zeros(1, 4, 6, 6)
    layer(images)
    assert taken == []
    if how == "another device":
        layer, images = layer.to("meta"), images.to("meta")
    if how == "frozen weight":
        layer.requires_grad_(False)
    with torch.set_grad_enabled(how != "no gradient"):
        assert layer(images).shape == (1, 4, 3, 3)
    assert taken == [1]
