"""Bytes of tensors that live at once, by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from erde_cli.core.measurement.memory import peak_bytes, weight_bytes


def test_the_peak_of_a_perceptron_by_hand() -> None:
    model = nn.Sequential(nn.Linear(100, 200), nn.ReLU(), nn.Linear(200, 50))
    images = torch.randn(10, 100)
    # While the ReLU runs: the images, what it reads, what it writes.
    assert peak_bytes(model, model, images) == 4 * 10 * (100 + 200 + 200)
    assert weight_bytes(model) == 4 * (100 * 200 + 200 + 200 * 50 + 50)


def test_what_is_freed_before_the_peak_is_not_in_it() -> None:
    images = torch.zeros(1000)

    def run(x: Tensor) -> Tensor:
        for _ in range(50):
            y = x + 1
            del y
        return x * 2

    def keep(x: Tensor) -> list[Tensor]:
        return [x + 1 for _ in range(50)]

    nothing = nn.Identity()
    assert peak_bytes(nothing, run, images) == 4 * 1000 * 2
    assert peak_bytes(nothing, keep, images) == 4 * 1000 * 51


def test_views_and_weights_are_not_counted() -> None:
    model = nn.Linear(10, 10, bias=False)
    images = torch.zeros(1, 10)
    assert peak_bytes(model, lambda x: (x.view(10), model.weight.t()), images) == 40
