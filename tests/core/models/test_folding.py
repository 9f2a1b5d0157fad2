"""A folded network answers as the network does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.folding import folded
from erde_cli.core.models.layers import Dropout
from erde_cli.core.recipe.sections.network import Network

NETWORKS: list[tuple[dict[str, Any], int]] = [  # keys, norms that cannot be folded
    ({"depth": 8, "exits": [1, 2]}, 2),  # those that begin the two early heads
    ({"depth": 8, "exits": [1, 2], "head": "gap"}, 0),
    ({"depth": 14, "exits": 3, "widening": 2, "stem": 8}, 2),
    ({"backbone": "wrn", "depth": 10, "exits": [1, 2]}, 3 + 3),  # first of each block, heads, last
    ({"backbone": "vgg", "depth": 8, "width": 8, "exits": [2, 4]}, 2),
]


@pytest.mark.parametrize(("keys", "left"), NETWORKS)
def test_a_folded_network_gives_the_same_answers_with_fewer_norms(
    keys: dict[str, Any], left: int
) -> None:
    model = build_model(resolve_architecture(Network(**keys), 5, 32), seed=1)
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_mean = torch.randn_like(module.running_mean) / 4
            module.running_var = torch.rand_like(module.running_var) + 0.5
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randn(3, 3, 32, 32)
    ready = folded(model)
    assert not any(module.training for module in ready.modules())
    with torch.no_grad():
        torch.testing.assert_close(ready(images), model.eval()(images), rtol=1e-4, atol=1e-4)
    norms = [module for module in ready.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == left
    assert not any(isinstance(module, Dropout) for module in ready.modules())  # in no head
    # the network itself is as it was, and does not share what was changed
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
