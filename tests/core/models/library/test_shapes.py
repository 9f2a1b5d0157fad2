"""Multiply-adds from shapes, by hand and against those of a traced network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from erde_cli.core.errors import UnsupportedOperatorError
from erde_cli.core.models.library.shapes import count_shapes
from erde_cli.core.models.macs import count_macs


class Attention(nn.Module):
    """Self-attention of a transformer, as torchvision calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        attended: Tensor = self.layer(tokens, tokens, tokens, need_weights=False)[0]
        return attended


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


def test_self_attention_costs_four_projections_and_two_products() -> None:
    expected = 3 * (4 * 5 * 8 * 8 + 2 * 5 * 5 * 8)
    assert count_macs(Attention(), torch.zeros(3, 5, 8)) == expected
    assert count_shapes(Attention(), (3, 5, 8)) == (expected, (3, 5, 8))


@pytest.mark.parametrize(("keys", "values"), [(5, 4), (3, 4), (3, 2)])
def test_attention_costs_its_two_matrix_products(keys: int, values: int) -> None:
    def attend(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x[:, :, :keys], x[:, :, :keys, :values])

    expected = 2 * 3 * (5 * keys * 4 + 5 * keys * values)
    assert count_macs(Function(attend), torch.zeros(2, 3, 5, 4)) == expected
    assert count_shapes(Function(attend), (2, 3, 5, 4)) == (expected, (2, 3, 5, values))


@pytest.mark.parametrize(
    ("module", "sizes"),
    [
        pytest.param(nn.Conv2d(4, 8, 3, 2, 1, dilation=2, groups=2), (2, 4, 9, 9), id="conv2d"),
        pytest.param(nn.Conv1d(4, 6, 3, 2, 1), (2, 4, 9), id="conv1d"),
        pytest.param(nn.Linear(5, 7), (2, 3, 5), id="linear"),
        pytest.param(nn.MaxPool2d(3, 2, 1), (1, 2, 8, 8), id="max_pool"),
        pytest.param(nn.MaxPool2d(2, 2, ceil_mode=True), (1, 2, 7, 7), id="ceil"),
        pytest.param(nn.AvgPool2d(2, ceil_mode=True), (1, 2, 7, 7), id="avg_pool"),
        pytest.param(nn.AdaptiveAvgPool2d((2, 3)), (1, 2, 7, 7), id="adaptive"),
        pytest.param(nn.Flatten(), (2, 3, 4, 5), id="flatten"),
        pytest.param(nn.LayerNorm(4), (2, 3, 4), id="layer_norm"),
        pytest.param(Function(lambda x: x @ x.transpose(-2, -1)), (2, 3, 4), id="matmul"),
        pytest.param(Function(lambda x: x[..., 0::2, None, :] * x[:1]), (3, 5, 4), id="index"),
        pytest.param(Function(lambda x: x.view(2, -1).unsqueeze(1)), (2, 3, 4), id="view"),
        pytest.param(Function(lambda x: torch.cat(x.chunk(2, 1), 2)), (2, 4, 3), id="cat"),
        pytest.param(Function(lambda x: x.mean((1, -1), keepdim=True)), (2, 4, 3), id="mean"),
        pytest.param(Function(lambda x: x.unbind(1)[1] + x[:, 0]), (2, 4, 3), id="unbind"),
        pytest.param(Function(lambda x: nn.functional.pad(x, (1, 2, 0, 1))), (2, 4, 3), id="pad"),
    ],
)
def test_shapes_and_multiply_adds_are_those_of_tensors(
    module: nn.Module, sizes: tuple[int, ...]
) -> None:
    outputs = tuple(module(torch.zeros(sizes)).shape)
    assert count_shapes(module, sizes) == (count_macs(module, torch.zeros(sizes)), outputs)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: torch.cumsum(x, 1), "cumsum"),
        (lambda x: x.cumsum(1), "cumsum"),
        (lambda x: x + torch._C._nn.gelu("x"), "gelu"),
    ],
)
def test_an_operator_without_a_rule_is_an_error_that_names_it(
    function: Callable[[Tensor], Tensor], name: str
) -> None:
    with pytest.raises(UnsupportedOperatorError, match=name):
        count_shapes(Function(function), (2, 3))


def test_an_image_without_a_pixel_left_is_an_error() -> None:
    with pytest.raises(ValueError, match="too small"):
        count_shapes(nn.Sequential(nn.MaxPool2d(2), nn.MaxPool2d(2)), (1, 1, 3, 3))
