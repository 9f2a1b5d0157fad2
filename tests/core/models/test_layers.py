"""The fast layers give the results of torch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from erde_cli.core.models.layers import Dropout, HalvingPool

FORMATS = [torch.contiguous_format, torch.channels_last]
SHAPES = [(2, 3, 6, 6), (1, 1, 2, 2), (3, 4, 8, 6), (2, 3, 7, 5), (4, 8, 9, 8), (2, 5, 4, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("gradient_layout", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_is_torchs_in_value_and_gradient(
    shape: tuple[int, ...],
    layout: torch.memory_format,
    gradient_layout: torch.memory_format,
    dtype: torch.dtype,
) -> None:
    torch.manual_seed(0)
    start = torch.randn(shape, dtype=dtype).contiguous(memory_format=layout)
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    pooled, expected = HalvingPool()(ours), F.avg_pool2d(theirs, 2)
    assert torch.equal(pooled, expected)
    gradient = torch.randn_like(expected).contiguous(memory_format=gradient_layout)
    pooled.backward(gradient)
    expected.backward(gradient)
    assert ours.grad is not None
    assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(0)
    layer = Dropout(share)
    assert layer.p == pytest.approx(share, abs=1 / 512)
    features = torch.ones(100, 4000, requires_grad=True)
    dropped = layer(features)
    values = dropped.detach().unique().tolist()
    assert values == [0.0, pytest.approx(1 / (1 - layer.p))]
    assert float((dropped == 0).float().mean()) == pytest.approx(layer.p, abs=0.005)
    assert float(dropped.detach().mean()) == pytest.approx(1, abs=0.02)
    dropped.sum().backward()
    assert features.grad is not None
    assert torch.equal(features.grad, dropped.detach())
    # no feature and no image is dropped more often than others
    assert float((dropped == 0).float().mean(dim=0).std()) < 0.07
    assert float((dropped == 0).float().mean(dim=1).std()) < 0.02


def test_dropout_depends_on_torchs_seed_alone_and_differs_from_call_to_call() -> None:
    layer, features = Dropout(0.5), torch.ones(8, 64)

    def twice() -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(7)
        return layer(features), layer(features)

    (first, second), (again, _) = twice(), twice()
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    torch.manual_seed(8)
    assert not torch.equal(layer(features), first)


def test_dropout_does_nothing_in_evaluation_or_at_0() -> None:
    features = torch.randn(4, 9)
    assert torch.equal(Dropout(0.5).eval()(features), features)
    assert torch.equal(Dropout(0.0)(features), features)
