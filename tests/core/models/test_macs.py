"""Multiply-adds: against arithmetic by hand, and against torch's own counter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from erde_cli.core.errors import UnsupportedOperatorError
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.macs import count_macs


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        pytest.param(nn.Conv2d(3, 8, 3), (2, 3, 8, 8), 2 * 6 * 6 * 8 * 3 * 9, id="plain"),
        pytest.param(nn.Conv2d(3, 8, 3, 2, 1), (1, 3, 8, 8), 4 * 4 * 8 * 3 * 9, id="stride"),
        pytest.param(nn.Conv2d(3, 8, 3, padding=2), (1, 3, 4, 4), 6 * 6 * 8 * 27, id="padding"),
        pytest.param(nn.Conv2d(4, 8, 3, groups=2), (1, 4, 5, 5), 3 * 3 * 8 * 2 * 9, id="groups"),
        pytest.param(nn.Conv2d(4, 4, 3, groups=4), (1, 4, 5, 5), 3 * 3 * 4 * 9, id="depthwise"),
        pytest.param(nn.Conv2d(4, 6, (1, 3)), (1, 4, 5, 5), 5 * 3 * 6 * 4 * 3, id="oblong"),
        pytest.param(nn.Conv2d(3, 8, 3, dilation=2), (1, 3, 8, 8), 16 * 8 * 27, id="dilation"),
        pytest.param(nn.Conv2d(5, 7, 1), (3, 5, 2, 2), 3 * 4 * 7 * 5, id="pointwise"),
        pytest.param(nn.Conv1d(4, 6, 3), (2, 4, 5), 2 * 3 * 6 * 4 * 3, id="one_dimension"),
        pytest.param(nn.ConvTranspose2d(4, 6, 3), (1, 4, 5, 5), 25 * 4 * 6 * 9, id="transposed"),
        pytest.param(
            nn.ConvTranspose2d(4, 6, 3, 2, 1), (2, 4, 5, 5), 2 * 25 * 4 * 6 * 9, id="upsampling"
        ),
        pytest.param(
            nn.ConvTranspose2d(4, 6, 3, groups=2), (1, 4, 5, 5), 25 * 4 * 3 * 9, id="both"
        ),
    ],
)
def test_a_convolution_costs_a_filter_at_every_place(
    module: nn.Module, shape: tuple[int, ...], expected: int
) -> None:
    assert count_macs(module, torch.zeros(shape)) == expected


@pytest.mark.parametrize("bias", [False, True])
def test_a_bias_costs_nothing(bias: bool) -> None:
    convolution = nn.Conv2d(3, 8, 3, padding=1, bias=bias)
    assert count_macs(convolution, torch.zeros(1, 3, 4, 4)) == 16 * 8 * 27
    assert count_macs(nn.Linear(5, 7, bias=bias), torch.zeros(2, 5)) == 2 * 5 * 7


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 2, 3, 5)])
def test_a_linear_layer_costs_its_weight_for_every_row(shape: tuple[int, ...]) -> None:
    rows = torch.zeros(shape).numel() // 5
    assert count_macs(nn.Linear(5, 7), torch.zeros(shape)) == rows * 5 * 7


@pytest.mark.parametrize(
    ("function", "shape", "expected"),
    [
        pytest.param(
            lambda x: torch.bmm(x, x.transpose(-1, -2)), (3, 5, 4), 3 * 5 * 5 * 4, id="bmm"
        ),
        pytest.param(lambda x: x.mm(x.transpose(-1, -2)), (5, 4), 5 * 5 * 4, id="mm"),
        pytest.param(lambda x: x @ x.transpose(-1, -2), (5, 4), 5 * 5 * 4, id="matmul"),
        pytest.param(lambda x: x @ x.transpose(-1, -2), (2, 3, 5, 4), 6 * 5 * 5 * 4, id="batched"),
        pytest.param(
            lambda x: x[0].transpose(-1, -2) @ x, (3, 5, 4), 3 * 4 * 4 * 5, id="broadcast"
        ),
        pytest.param(lambda x: x @ x[0], (5, 5), 5 * 5, id="vector"),
        pytest.param(lambda x: torch.addmm(x, x, x), (5, 5), 125, id="addmm"),
    ],
)
def test_a_matrix_product_costs_rows_times_columns_times_the_inner_size(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...], expected: int
) -> None:
    assert count_macs(Function(function), torch.zeros(shape)) == expected


@pytest.mark.parametrize("head", ["gap", "erde"])
@pytest.mark.parametrize(
    ("depth", "width", "cuts", "size", "batch"),
    [
        (8, 4, (1, 2), 8, 1),
        (8, 4, (), 8, 3),
        (8, 3, (1,), 9, 2),
        (14, 2, (2, 4), 16, 1),
        (20, 16, (3, 6), 32, 1),
    ],
)
def test_a_whole_network_costs_half_of_the_flops_that_torch_counts(
    depth: int, width: int, cuts: tuple[int, ...], size: int, batch: int, head: str
) -> None:
    model = build_model(Architecture("resnet", depth, width, cuts, head, 10, size)).eval()
    images = torch.zeros(batch, 3, size, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    assert count_macs(model, images) == counter.get_total_flops() // 2


def test_a_layer_that_is_used_twice_is_counted_twice() -> None:
    layer = nn.Linear(5, 5)
    assert count_macs(nn.Sequential(layer, nn.ReLU(), layer), torch.zeros(1, 5)) == 50


def test_the_count_grows_with_the_batch() -> None:
    layer = nn.Conv2d(3, 4, 3)
    one, seven = (count_macs(layer, torch.zeros(batch, 3, 5, 5)) for batch in (1, 7))
    assert seven == 7 * one


@pytest.mark.parametrize(
    "module",
    [
        nn.BatchNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.InstanceNorm2d(4),
        nn.LayerNorm(6),
        nn.AvgPool2d(2),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveMaxPool2d(1),
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.GELU(),
        nn.SiLU(),
        nn.Sigmoid(),
        nn.Tanh(),
        nn.ReLU6(),
        Function(nn.functional.relu6),
        Function(lambda x: nn.functional.relu6(x, inplace=True)),
        nn.SELU(),
        nn.CELU(),
        nn.GLU(dim=1),
        nn.Mish(),
        nn.Mish(inplace=True),
        nn.Softplus(),
        nn.Hardswish(),
        nn.LeakyReLU(),
        nn.Softmax(dim=1),
        nn.Dropout(),
        nn.Flatten(),
        nn.ZeroPad2d(1),
        nn.ChannelShuffle(2),
        nn.PixelShuffle(2),
        nn.PixelUnshuffle(2),
        Function(lambda x: (x + 1) * x - x / 2),
        Function(lambda x: x.mean(dim=1) + x.sum(dim=1)),
        Function(lambda x: torch.cat([x, x], dim=1)),
    ],
    ids=lambda module: type(module).__name__,
)
def test_norm_pooling_activation_and_element_wise_operators_cost_nothing(
    module: nn.Module,
) -> None:
    assert count_macs(module, torch.rand(2, 4, 6, 6)) == 0


@pytest.mark.parametrize(
    ("function", "name"),
    [
        pytest.param(lambda x: torch.cumsum(x, 1), "aten::cumsum", id="cumsum"),
        pytest.param(lambda x: torch.fft.fft(x).real, "aten::fft_fft", id="fft"),
        pytest.param(lambda x: torch.einsum("bi,bj->ij", x, x), "aten::einsum", id="einsum"),
        pytest.param(lambda x: torch.sort(x)[0], "aten::sort", id="sort"),
    ],
)
def test_an_unknown_operator_is_an_error_that_names_it(
    function: Callable[[Tensor], Tensor], name: str
) -> None:
    module = nn.Sequential(nn.Linear(5, 5), nn.Sequential(nn.ReLU(), Function(function)))
    module.train()
    with pytest.raises(UnsupportedOperatorError) as caught:
        count_macs(module, torch.rand(2, 5))
    assert name in caught.value.message
    assert caught.value.expected
    assert caught.value.hint
    assert all(part.training for part in module.modules())


def test_every_unknown_operator_is_named() -> None:
    module = Function(lambda x: torch.sort(torch.cumsum(x, 1))[0])
    with pytest.raises(UnsupportedOperatorError, match=r"aten::cumsum, aten::sort"):
        count_macs(module, torch.rand(2, 5))


@pytest.mark.parametrize("training", [False, True])
def test_counting_leaves_the_mode_the_weights_and_the_statistics_alone(training: bool) -> None:
    model = build_model(Architecture("resnet", 8, 2, (1, 2), "erde", 4, 8))
    model.train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_macs(model, torch.rand(4, 3, 8, 8))
    assert {module.training for module in model.modules()} == {training}
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_counting_leaves_a_frozen_submodule_frozen() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train()
    module[1].eval()
    count_macs(module, torch.zeros(2, 2))
    assert [inner.training for inner in module.modules()] == [True, True, False]
