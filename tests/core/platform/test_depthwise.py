"""Depthwise convolutions in bfloat16: the same function, and gradients by fast kernels only."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from erde_cli.core.device import make_context
from erde_cli.core.platform.depthwise import speed_up_depthwise
from erde_cli.core.platform.torchvision_import import torchvision_models
from tests.core.platform.test_narrow import passes

LAST = torch.channels_last
ROUNDING = (
    3e-2  # of the largest number; torch's own gradients differ as much without AVX512: 1.8e-2
)
SHAPES = [  # kernel, stride, padding, height and width of the images
    (5, 1, 2, (9, 8)),
    (7, 1, 3, (3, 4)),
    (3, 2, 1, (9, 8)),
    (3, 2, 1, (1, 1)),
    (3, 2, 0, (9, 8)),
    (5, 2, 2, (8, 9)),
    (5, 3, 0, (11, 12)),
    (4, 2, 1, (7, 6)),
    ((3, 5), (2, 1), (0, 2), (9, 8)),
    ((1, 7), (1, 2), (0, 3), (9, 8)),
]


class Calls(TorchDispatchMode):
    """Width of the kernel, stride and wanted gradients of every backward pass of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, list[int], list[bool]]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, given: Any = (), named: Any = None
    ) -> Any:
        if function is torch.ops.aten.convolution_backward.default:
            self.seen.append((given[2].shape[-1], given[4], given[10]))
        return function(*given, **(named or {}))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), SHAPES)
def test_answers_and_gradients_are_exact_and_take_the_fast_kernels(
    kernel: Any, stride: Any, padding: Any, size: tuple[int, int], bias: bool
) -> None:
    torch.manual_seed(1)
    plain = nn.Conv2d(32, 32, kernel, stride, padding, groups=32, bias=bias)
    fast = copy.deepcopy(plain).to(memory_format=LAST)
    speed_up_depthwise(fast)
    images = torch.randn(5, 32, *size)
    wanted = passes(plain.double(), images.double())
    with Calls() as calls:
        found = passes(fast, images.contiguous(memory_format=LAST))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(
            one.double(), other, rtol=0, atol=ROUNDING * float(other.abs().max())
        )
    assert calls.seen
    assert all(width <= 3 for width, _, (_, of_weight, _) in calls.seen if of_weight)
    assert all(stride == [1, 1] for _, stride, (of_images, *_) in calls.seen if of_images)


def test_torch_alone_would_take_the_slow_kernels() -> None:
    with Calls() as calls:
        passes(nn.Conv2d(32, 32, 5, 2, 2, groups=32), torch.randn(2, 32, 8, 8))
    assert [(width, list(stride)) for width, stride, _ in calls.seen] == [(5, [2, 2])]


@pytest.mark.parametrize("frozen", ["weight", "images"])
def test_gradients_that_nobody_wants_are_not_computed(frozen: str) -> None:
    layer = nn.Conv2d(32, 32, 5, 2, 2, groups=32, bias=False).to(memory_format=LAST)
    speed_up_depthwise(layer)
    layer.weight.requires_grad_(frozen != "weight")
    images = torch.randn(2, 32, 8, 8).contiguous(memory_format=LAST)
    images.requires_grad_(frozen != "images")
    with Calls() as calls, torch.autocast("cpu", torch.bfloat16):
        layer(images).sum().backward()
    assert (images.grad is None) == (frozen == "images")
    assert (layer.weight.grad is None) == (frozen == "weight")
    assert len(calls.seen) == (2 if frozen == "images" else 0)


@pytest.mark.parametrize(("size", "stride"), [((9, 8), 2), ((7, 7), 2), ((6, 5), 1), ((1, 1), 2)])
def test_timms_padding_is_kept(size: tuple[int, int], stride: int) -> None:
    torchvision_models()  # timm imports torchvision
    layers = pytest.importorskip("timm.layers", reason="pip install 'erde-cli[timm]'")
    torch.manual_seed(1)
    plain = layers.Conv2dSame(32, 32, 5, stride, groups=32)
    fast = copy.deepcopy(plain).to(memory_format=LAST)
    speed_up_depthwise(fast)
    assert type(fast) is not type(plain)
    images = torch.randn(5, 32, *size)
    wanted = passes(plain.double(), images.double())
    for one, other in zip(passes(fast, images), wanted, strict=True):
        torch.testing.assert_close(
            one.double(), other, rtol=0, atol=ROUNDING * float(other.abs().max())
        )


@pytest.mark.parametrize("how", ["float32", "no gradient", "another device"])
def test_where_nothing_is_gained_torch_computes_as_ever(how: str) -> None:
    plain = nn.Conv2d(32, 32, 5, 2, 2, groups=32).to(memory_format=LAST)
    fast = copy.deepcopy(plain)
    speed_up_depthwise(fast)
    images = torch.randn(2, 32, 8, 8)
    if how == "another device":
        assert fast.to("meta")(images.to("meta")).shape == (2, 32, 4, 4)
        return
    with torch.set_grad_enabled(how != "no gradient"):
        dtype = torch.float32 if how == "float32" else torch.bfloat16
        with torch.autocast("cpu", torch.bfloat16, dtype is torch.bfloat16):
            outputs: list[Tensor] = [plain(images), fast(images)]
    assert torch.equal(*outputs)
    assert type(outputs[1].grad_fn) is type(outputs[0].grad_fn)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3, 1, 1, groups=8),
        nn.Conv2d(8, 16, 5, groups=8),
        nn.Conv2d(8, 8, 5, groups=4),
        nn.Conv2d(8, 8, 5, dilation=2, groups=8),
        nn.Conv2d(8, 8, 5, padding="same", groups=8),
        nn.Conv2d(8, 8, 5, padding=5, groups=8),
        nn.Conv2d(8, 8, 5, padding_mode="circular", groups=8),
        nn.LazyConv2d(8, 5),
    ],
    ids=str,
)
def test_other_convolutions_are_left_as_they_are(layer: nn.Module) -> None:
    kind = type(layer)
    speed_up_depthwise(nn.Sequential(layer))
    assert type(layer) is kind


def test_networks_that_train_in_bfloat16_on_a_cpu_get_them() -> None:
    for precision, changed in (("bfloat16", True), ("float32", False)):
        wide, strided = (nn.Conv2d(8, 8, 5, stride, 2, groups=8) for stride in (1, 2))
        sped_up = nn.Sequential(copy.deepcopy(wide), copy.deepcopy(strided))
        speed_up_depthwise(sped_up)
        module = nn.Sequential(wide, strided)
        make_context("cpu", precision).place(module)
        for layer, fast in zip(module, sped_up, strict=True):  # no other guard has taken them
            assert (type(layer) is type(fast)) is changed
