"""Convolutions on images narrower than their stride: exact gradients in bfloat16."""

import copy

import pytest
import torch
from torch import Tensor, nn

from erde_cli.core.device import Context
from erde_cli.core.platform.narrow import guard_narrow
from tests.gradients.cases import spoil_freed_memory

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def passes(layer: nn.Module, images: Tensor) -> list[Tensor]:
    images = images.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, images.dtype == torch.float32):
        output = layer(images)
    gradient = torch.linspace(-1, 1, output.numel()).view(output.shape).to(output.dtype)
    return [output.detach(), *torch.autograd.grad(output, [images, *layer.parameters()], gradient)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        (3, 2, 1, (1, 1)),
        (5, 2, 2, (1, 1)),
        (3, 2, 1, (5, 1)),
        (3, 3, 1, (2, 2)),
        (4, 3, 1, (2, 2)),
        (5, (1, 2), 2, (3, 1)),
    ],
)
@pytest.mark.parametrize("groups", [1, 4, 32])
def test_answers_and_gradients_are_exact(
    groups: int,
    kernel: int,
    stride: int | tuple[int, int],
    padding: int,
    size: tuple[int, int],
    layout: str,
) -> None:
    torch.manual_seed(1)
    plain = nn.Conv2d(32, 64, kernel, stride, padding, groups=groups)
    guarded = copy.deepcopy(plain).to(memory_format=LAYOUTS[layout])
    guard_narrow(guarded)
    images = torch.randn(5, 32, *size)
    wanted = passes(plain.double(), images.double())
    for _ in range(2):  # the first time, memory may be new, which the system fills with zeros
        spoil_freed_memory()
        found = passes(guarded, images.contiguous(memory_format=LAYOUTS[layout]))
        for one, other in zip(found, wanted, strict=True):
            largest = float(other.abs().max())
            torch.testing.assert_close(one.double(), other, rtol=0, atol=3e-2 * largest)


def test_wider_images_keep_every_bit() -> None:
    plain = nn.Conv2d(16, 16, 3, 2, 1, groups=16)
    guarded = copy.deepcopy(plain)
    guard_narrow(guarded)
    images = torch.randn(2, 16, 3, 2)
    for one, other in zip(passes(guarded, images), passes(plain, images), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, stride=(2, 1), padding=1),
        nn.Conv2d(4, 4, 1, stride=2),
        nn.Conv2d(4, 4, 3, stride=2, padding="valid"),
        nn.Conv2d(4, 4, 4, stride=2, padding=2),
        nn.Conv2d(4, 4, 3, stride=2, padding=1, padding_mode="circular"),
        nn.LazyConv2d(4, 3, stride=2, padding=1),
    ],
    ids=str,
)
def test_other_convolutions_are_left_as_they_are(layer: nn.Module) -> None:
    kind = type(layer)
    guard_narrow(nn.Sequential(layer))
    assert type(layer) is kind


def test_networks_that_are_placed_in_bfloat16_are_guarded_and_others_are_not() -> None:
    cpu = torch.device("cpu")
    for precision, guarded in (("bfloat16", True), ("float16", False), ("float32", False)):
        for layout in LAYOUTS:
            network = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1)))
            state, text = copy.deepcopy(network.state_dict()), str(network[0][0].extra_repr())
            Context(cpu, precision, 1, layout=layout).place(network)  # type: ignore[arg-type]
            assert (type(network[0][0]) is not nn.Conv2d) is guarded
            assert list(network.state_dict()) == list(state)
            assert network[0][0].extra_repr() == text


@pytest.mark.parametrize("how", ["no gradient", "frozen weight"])
def test_where_no_gradient_of_the_weights_is_due_torch_computes_as_ever(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = nn.Conv2d(4, 4, 3, stride=2, padding=1)
    guard_narrow(layer)
    taken = []
    real = nn.Conv2d._conv_forward
    monkeypatch.setattr(nn.Conv2d, "_conv_forward", lambda *given: taken.append(1) or real(*given))
    images = torch.zeros(1, 4, 1, 1)
    layer(images)
    assert taken == []
    layer.requires_grad_(how != "frozen weight")
    with torch.set_grad_enabled(how != "no gradient"):
        assert layer(images).shape == (1, 4, 1, 1)
    assert taken == [1]
